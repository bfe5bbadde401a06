"""What the overview says of messages that wait for a person."""

from django.urls import reverse

from notify.models import Notification
from notify.panels import Fact


def run() -> list[Fact]:
    """Count the held messages."""
    count = Notification.objects.held_for_person().count()
    label = "held message" if count == 1 else "held messages"
    address = reverse("admin:providers_heldnotification_changelist")
    return [Fact(count, label, address, "bad" if count else "good", "providers.view_heldnotification")]
