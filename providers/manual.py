"""What a person changes by hand: a share or the switch, with the hold that keeps automatic rules away meanwhile."""

from datetime import UTC, datetime
from typing import Any

from providers.models import Provider, ProviderChange

UNTIL_RELEASED = datetime(9999, 1, 1, tzinfo=UTC)  # a hold without an end of its own


def record_change(
    provider: Provider, *, before: int, after: int, reason: str, held_until: datetime | None, by: Any, now: datetime
) -> None:
    """Record a change of share or switch made by hand, and hold every provider of the channel.

    The caller has the channel's rows locked (`Provider.objects.locked`) and writes the provider itself.
    before, after: the share that counted, 0 while switched off. held_until: UNTIL_RELEASED for a hold without end;
    None for no hold, which also ends the one that is on. now: the moment (aware, UTC).
    """
    ProviderChange.objects.create(
        provider=provider,
        share_before=before,
        share_after=after,
        reason=reason[:300],
        changed_by=by,
        created_at=now,
    )
    Provider.objects.filter(notification_type=provider.notification_type).update(
        held_until=held_until, hold_reason=reason[:300] if held_until else ""
    )


def release_hold(notification_type: str) -> list[int]:
    """End the hold of a channel: automatic rules may change its shares again. Returns the keys that were held.

    Call it inside atomic().
    """
    keys = sorted(row.pk for row in Provider.objects.locked(notification_type) if row.held_until is not None)
    Provider.objects.filter(pk__in=keys).update(held_until=None, hold_reason="")
    return keys
