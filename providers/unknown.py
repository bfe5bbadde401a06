"""Messages of which nobody knows whether a provider took them: a lapsed lease, a read time-out, a cut line.

`resend_once`: wait UNKNOWN_OUTCOME_WAIT for a receipt, which settles it, then send once more; unknown again → held.
`hold`: held at once. Held means due_at NULL with the reason below, one alert, and a person who decides.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from callbacks.outcomes import settle
from notify.alerts import close_gone, raise_alert
from notify.models import Notification
from notify.states import Move
from providers.models import Provider

REASON = "outcome-unknown"
BATCH = 500  # lapsed leases looked at per claim


def move(notification: Notification, provider: Provider | None, token: dict[str, Any], *, now: datetime) -> Move:
    """Return the move of a message whose outcome is unknown: due again after a wait, or held."""
    again = (
        provider is not None
        and provider.unknown_outcome == Provider.UnknownOutcome.RESEND_ONCE
        and notification.unknown_outcomes == 0
    )
    fields = {
        "claimed_at": None,
        "due_at": now + settings.UNKNOWN_OUTCOME_WAIT if again else None,
        "status_reason": REASON,
        "unknown_outcomes": notification.unknown_outcomes + 1,
    }
    return Move(notification.pk, Notification.Status.CREATED, fields, token)


def settle_lapsed(*, now: datetime) -> int:
    """Judge the messages whose lease ran out. Returns how many."""
    with transaction.atomic():
        keys = Notification.objects.lapsed(now).claim(BATCH)
        if not keys:
            return 0
        providers = {provider.identifier: provider for provider in Provider.objects.all()}
        moves = [
            move(
                row, providers.get(row.provider_name), {"claimed_at": row.claimed_at, "attempts": row.attempts}, now=now
            )
            for row in Notification.objects.filter(pk__in=keys)
        ]
        settle(moves, now=now)
    tell(now=now)
    return len(moves)


def tell(*, now: datetime) -> None:
    """Keep one alert per provider open while messages are held for a person, and close it when none are."""
    for name in _holding():
        raise_alert(
            "outcome-unknown",
            name,
            f"Nobody knows whether {name} took some messages (a cut line or a worker that died); they are held and "
            "not sent again by themselves. In the admin, Held messages, look at each and choose “Send again” or "
            "“Leave”. "
            "See README, outcome-unknown.",
            now=now,
        )
    close_gone("outcome-unknown", _holding, now=now)


def _holding() -> list[str]:
    """Name the providers with messages held for a person, in the order in which their alerts are locked."""
    held = Notification.objects.held_for_person().values_list("provider_name", flat=True)
    return sorted(held.order_by().distinct())
