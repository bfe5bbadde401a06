"""What a person decides about messages of which nobody knows whether a provider took them: send again, or leave.

A decision counts for the message as the person saw it: still held, with as many tries. Two clicks, two people, or a
receipt that was faster have one effect together.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from callbacks.outcomes import settle
from notify.models import Notification
from notify.states import Move
from providers import unknown

Status = Notification.Status


def send_again(seen: Mapping[UUID, int], *, now: datetime) -> list[Notification]:
    """Make held messages due at once. It stays on record that an outcome is unknown: unknown again is held again.

    seen: the tries each message had when the person looked. now: aware UTC; hours of trying later count anew.
    The caller wakes the sending loop. Returns the messages that moved, as they were before; one that was decided, sent
    or reported on meanwhile stays as it is.
    """
    return _decide(seen, Status.CREATED, {"due_at": now, "first_attempt_at": None, "claimed_at": None}, now=now)


def leave(seen: Mapping[UUID, int], reason: str, *, now: datetime) -> list[Notification]:
    """Settle held messages as technical-failure, with the callbacks this causes. A receipt may still correct it.

    seen, now: as of send_again. reason: why, at most 300 characters are kept. The caller wakes the callbacks.
    Returns the messages that moved, as they were before.
    """
    return _decide(seen, Status.TECHNICAL_FAILURE, {"status_reason": reason[:300]}, now=now)


def _decide(seen: Mapping[UUID, int], status: str, fields: dict[str, Any], *, now: datetime) -> list[Notification]:
    """Move those that are held as they were seen, and close the alert where none is left."""
    with transaction.atomic():
        held = Notification.objects.held_for_person().filter(pk__in=list(seen)).order_by("pk").select_for_update()
        rows = [row for row in held.defer("recipient", "personalisation") if row.attempts == seen[row.pk]]
        moved = settle([Move(row.pk, status, fields, _as_held(row)) for row in rows], now=now)
        if moved:
            unknown.tell(now=now)
    return [row for row in rows if row.pk in moved]


def _as_held(row: Notification) -> dict[str, Any]:
    """What the UPDATE repeats: held, after as many tries and unknown outcomes."""
    return {
        "status": Status.CREATED,
        "due_at": None,
        "attempts": row.attempts,
        "unknown_outcomes": row.unknown_outcomes,
    }
