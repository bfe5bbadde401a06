"""What the overview says of the ground floor."""

from dataclasses import dataclass

from django.urls import reverse

from notify.models import Alert


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of the overview, leading to its list. permission: who may see it. tone: good, bad or busy."""

    count: int
    label: str
    url: str
    tone: str
    permission: str


@dataclass(frozen=True, slots=True)
class Banner:
    """A sentence on top of every admin page, from a floor's `banners.py`, with a link for those who may follow it."""

    text: str
    label: str
    url: str
    permission: str


def run() -> list[Fact]:
    """Count the open alerts."""
    count = Alert.objects.open().count()
    label = "open alert" if count == 1 else "open alerts"
    return [
        Fact(count, label, reverse("admin:notify_alert_changelist"), "bad" if count else "good", "notify.view_alert")
    ]
