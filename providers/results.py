"""What becomes of a message after a provider answered: accepted, refused, try later, or nobody knows."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from notify import missing_key
from notify.models import Notification, NotificationType
from notify.recipients import is_international
from notify.states import Move
from providers import unknown
from providers.backends import Outcome, Result

# Seconds before the next try, by tries so far: the first comes at once (another provider may be chosen), the last
# repeats until SENDING_TRY_LATER_FOR has passed.
BACKOFF = (1, 10, 60, 300)
JITTER = 0.2  # either way, so that a provider that comes back is not met by everyone at once


def move(item: Any, answer: Result | BaseException, *, now: datetime) -> Move:
    """Return the move that writes an answer to a claimed message (providers/sending.py: Claimed)."""
    notification = item.notification
    if isinstance(answer, BaseException):  # a backend that raises has told nothing of what it wrote to the socket
        answer = Result(Outcome.UNKNOWN, type(answer).__name__)
    if answer.outcome == Outcome.ACCEPTED:
        return _accepted(item, answer, now=now)
    if answer.outcome == Outcome.REFUSED:
        return _failed(item, answer.reason or "refused by the provider")
    if answer.outcome == Outcome.UNKNOWN:
        return unknown.move(notification, item.provider, item.token, now=now)
    return _later(item, answer, now=now) if answer.begun else _unasked(item, answer, now=now)


def unbegun(item: Any, *, now: datetime) -> Move:
    """Return the move that undoes the claim of a message: no provider was asked."""
    return _undone(item, {}, due_at=now)


def put_off(item: Any, *, now: datetime) -> Move:
    """Return the move that lets a message wait for its key without using up a try."""
    return _undone(item, {"status_reason": missing_key.REASON}, due_at=now + missing_key.AGAIN)


def backoff(attempts: int, retry_after: float | None) -> timedelta:
    """Return how long to wait after `attempts` tries (1 or more); the provider's own wait counts where it is longer."""
    base = BACKOFF[min(attempts, len(BACKOFF)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return timedelta(seconds=max(base, retry_after or 0))


def note_late(moves: Iterable[Move]) -> None:
    """Write when a message was sent where a receipt was faster than we were: its status stays."""
    for late in moves:
        fields = {name: late.fields[name] for name in ("sent_at", "provider_reference", "claimed_at", "due_at")}
        Notification.objects.filter(pk=late.pk, sent_at__isnull=True, **late.where).update(**fields)


def _undone(item: Any, fields: dict[str, Any], *, due_at: datetime) -> Move:
    row = item.notification
    fields = fields | {"attempts": row.attempts - 1}
    if row.attempts == 1:
        fields |= {"first_attempt_at": None, "provider_name": ""}
    return Move(row.pk, Notification.Status.CREATED, _released(fields, due_at=due_at), item.token)


def _accepted(item: Any, answer: Result, *, now: datetime) -> Move:
    notification = item.notification
    is_sms = notification.notification_type == NotificationType.SMS
    abroad = is_sms and is_international(item.message.recipient, settings.PHONE_REGION)
    status = Notification.Status.SENT if abroad else Notification.Status.SENDING
    fields = {
        "sent_at": now,
        "provider_reference": answer.provider_reference[:200],
        "status_reason": "",
    }
    return Move(notification.pk, status, _released(fields, due_at=None), item.token)


def _failed(item: Any, reason: str) -> Move:
    fields = _released({"status_reason": reason[:300]}, due_at=None)
    return Move(item.notification.pk, Notification.Status.TECHNICAL_FAILURE, fields, item.token)


def _later(item: Any, answer: Result, *, now: datetime) -> Move:
    notification = item.notification
    until = notification.first_attempt_at + settings.SENDING_TRY_LATER_FOR
    if now >= until:
        return _failed(item, f"out of tries: {answer.reason}")
    # However long this provider asks us to wait: the last try comes in time, and another provider may carry it.
    due = min(now + backoff(notification.attempts, answer.retry_after), until)
    fields = _released({"status_reason": f"try later: {answer.reason}"[:300]}, due_at=due)
    return Move(notification.pk, Notification.Status.CREATED, fields, item.token)


def _unasked(item: Any, answer: Result, *, now: datetime) -> Move:
    """Put off a message that was not begun. Its hours of trying do not run: a slow server is none that refuses."""
    fields = {"status_reason": f"try later: {answer.reason}"[:300]}
    return _undone(item, fields, due_at=now + backoff(2, answer.retry_after))


def _released(fields: dict[str, Any], *, due_at: datetime | None) -> dict[str, Any]:
    return fields | {"claimed_at": None, "due_at": due_at}
