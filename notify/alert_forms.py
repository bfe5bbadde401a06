"""What a person may do about alerts: acknowledge them, put them off until a local time or no longer, close them."""

from collections.abc import Callable, Iterable
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.conf import settings

from notify.alerts import acknowledge, resolve, snooze, unsnooze
from notify.clock import at_local, local_date
from notify.models import Alert

SNOOZE_LIMIT = timedelta(days=90)
MOMENT = "%Y-%m-%dT%H:%M"


class SnoozeForm(forms.Form):
    """Until when alerts are put off, in local time."""

    until = forms.DateTimeField(
        label="Snooze until", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MOMENT)
    )

    def __init__(self, *args: Any, now: datetime, **kwargs: Any) -> None:
        tomorrow = at_local(local_date(now) + timedelta(days=1), time(9))
        super().__init__(*args, initial={"until": tomorrow}, **kwargs)
        self.now = now
        self.fields["until"].help_text = f"{settings.NOTIFY_TIME_ZONE} time; at most {SNOOZE_LIMIT.days} days ahead."

    def clean_until(self) -> datetime:
        """Return a moment that is still to come and not too far away."""
        until = self.cleaned_data["until"]
        if until <= self.now:
            raise forms.ValidationError(
                f"SNOOZE_PAST: This time has passed ({settings.NOTIFY_TIME_ZONE} time); choose a later one."
            )
        if until > self.now + SNOOZE_LIMIT:
            raise forms.ValidationError(
                f"SNOOZE_TOO_LONG: Choose a time within {SNOOZE_LIMIT.days} days, so that nothing is put off for good."
            )
        return until


class Attention(NamedTuple):
    """What a person may do about open alerts. apply: takes keys, now and until; returns those it changed."""

    title: str
    button: str
    promise: str
    done: str
    apply: Callable[[Iterable[UUID], datetime, datetime], list[Alert]]
    asks_until: bool = False


ATTENTION = {
    "acknowledge": Attention(
        "Acknowledge",
        "Acknowledge",
        "You say that somebody is on it: nobody else is told. It goes on counting, and resolves itself when its cause "
        "is gone.",
        "Acknowledged",
        lambda keys, now, until: acknowledge(keys, now=now),
    ),
    "snooze": Attention(
        "Snooze",
        "Snooze",
        "It is put off until this time. If it is still open then and nobody was told yet, somebody is.",
        "Snoozed",
        lambda keys, now, until: snooze(keys, until=until),
        asks_until=True,
    ),
    "unsnooze": Attention(
        "End the snooze",
        "End the snooze",
        "It counts as open again at once; if nobody was told yet, somebody is.",
        "No longer snoozed",
        lambda keys, now, until: unsnooze(keys, now=now),
    ),
    "resolve": Attention(
        "Resolve",
        "Resolve",
        "You say that its cause is gone. Most alerts resolve themselves; where the cause is still there, or comes "
        "back, a new one opens and somebody is told again.",
        "Resolved by hand",
        lambda keys, now, until: resolve(keys, now=now),
    ),
}
