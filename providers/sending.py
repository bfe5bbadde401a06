"""Carrying SMS and email: claim what is due with a lease, send many at once, write what became of them in bulk.

A worker that dies leaves `claimed_at` behind: when the lease runs out nobody knows whether its messages were taken,
and providers/unknown.py decides.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from callbacks.outcomes import settle
from notify import missing_key
from notify.alerts import raise_alert
from notify.crypto import KeyMissing
from notify.flow import flow
from notify.loops import Due, in_slots
from notify.models import Notification, NotificationType, Service
from providers import results, unknown
from providers.backends import Message, Outcome, Result, client_session
from providers.claiming import Row, claim_fairly
from providers.models import Pause, Provider
from providers.pacing import AHEAD
from providers.usable import Backends, judge_providers
from providers.words import Words, html

logger = logging.getLogger(__name__)
LOOP = "providers.send_due_notifications"
_LOOK_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message this worker holds until its lease runs out, and the provider chosen for it."""

    notification: Row
    provider: Provider
    message: Message | None = None
    problem: str = ""  # why the message cannot be built
    waits: bool = False  # for its key, which is not in ENCRYPTION_KEYS
    begins_at: datetime | None = None  # of a provider with a rate limit: not before

    @property
    def token(self) -> dict[str, Any]:
        """What a finishing UPDATE repeats: a worker that slept past its lease changes nothing."""
        return {"claimed_at": self.notification.claimed_at, "attempts": self.notification.attempts}


class Sending:
    """What the loop needs to know of messages: how to claim, send and finish them."""

    def __init__(self) -> None:
        self.concurrency = settings.SENDING_CONCURRENCY
        self.words = Words()
        self.backends = Backends()
        self._looked_at: datetime | None = None
        self._carrying: dict[str, list[Provider]] = {}
        self._services: dict[str, Service] = {}

    def claim(self, limit: int, now: datetime) -> Sequence[Claimed]:
        """Claim up to `limit` due messages, fairly between services, each with its provider, and commit."""
        self._look(now)
        if not self._carrying:
            return []
        taken = claim_fairly(self._carrying, limit=limit, now=now)
        unread = {row.service_id for row, _, _ in taken} - self._services.keys()
        self._services |= {str(service.pk): service for service in Service.objects.in_bulk(unread).values()}
        return [self._build(*each) for each in taken]

    async def act(self, item: Claimed, session: Any) -> Result:
        """Send one message; what cannot be read or written is answered without a request."""
        if item.message is None:
            return Result(Outcome.REFUSED, item.problem)
        if item.begins_at is not None:
            # Not longer than any moment is ahead: the clock may have been set back.
            await asyncio.sleep(min(item.begins_at - datetime.now(UTC), AHEAD).total_seconds())
        return await self.backends.of(item.provider).send(session, item.message)

    def finish(self, done: Sequence[tuple[Claimed, Any]], now: datetime) -> None:
        """Write what became of the messages, with their callbacks."""
        moves = [
            results.put_off(item, now=now) if item.waits else results.move(item, answer, now=now)
            for item, answer in done
        ]
        moved = settle(moves, now=now)
        late = [move for move in moves if move.pk not in moved and "sent_at" in move.fields]
        results.note_late(late)
        if any(move.fields["status_reason"] == unknown.REASON for move in moves):
            unknown.tell(now=now)
        for problem in sorted({item.problem for item, _ in done if item.problem}):
            _tell_unbuilt(problem, now=now)
        if any(item.waits for item, _ in done):
            missing_key.tell(missing_key.MESSAGES, now=now)

    def give_back(self, items: Sequence[Claimed], now: datetime) -> None:
        """Make claimed messages that were given to nobody due again."""
        settle([results.unbegun(item, now=now) for item in items], now=now)

    def next_due(self) -> datetime | None:
        """When the next message is due, within the time a loop may wait for it."""
        return next_due(before=datetime.now(UTC) + settings.LOOP_DUE_WITHIN, backends=self.backends)

    def _look(self, now: datetime) -> None:
        """Judge leases that ran out, see who may carry what, and forget the services.

        Once a second: a claim of a hundred messages would spend a tenth of its time on it.
        """
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < _LOOK_EVERY:
            return
        unknown.settle_lapsed(now=now)
        able = self.backends.able_each(Notification.SENT_BY_LOOP)
        self._carrying = {kind: providers for kind, providers in able.items() if providers}
        self._services.clear()
        self._looked_at = now

    def _build(self, row: Row, provider: Provider, begins_at: datetime | None) -> Claimed:
        """Put the message together; a poison row must not stop its batch."""
        try:
            message = self._message(row.opened())
        except KeyMissing:
            return Claimed(row, provider, waits=True)
        except Exception as error:
            logger.exception("Notification %s cannot be built", row.pk)
            return Claimed(row, provider, problem=f"the message cannot be built ({type(error).__name__})")
        return Claimed(row, provider, message, begins_at=begins_at)

    def _message(self, row: Row) -> Message:
        key, service, text = row.pk, self._services[row.service_id], self.words.body(row)
        if row.notification_type == NotificationType.SMS:
            return Message(key, row.recipient, text, service.sms_sender or settings.DEFAULT_SMS_SENDER)
        return Message(
            key,
            row.recipient,
            text,
            service.email_from_name or service.name,
            subject=self.words.subject(row),
            html=html(text),
            reply_to=service.email_reply_to,
        )

    def close(self) -> None:
        """Close what the backends held open between messages."""
        self.backends.close()


def send_due(*, now: datetime) -> int:
    """Send what is due in one of the loop's places. Returns how many messages were handled."""
    judge_providers(now=now)
    unknown.tell(now=now)
    waiting = Notification.objects.to_send().filter(status_reason=missing_key.REASON)
    missing_key.close(missing_key.MESSAGES, waiting, now=now)
    return in_slots(LOOP, _carry, waiting=lambda: next_due(before=datetime.now(UTC)) is not None)


def next_due(*, before: datetime, backends: Backends | None = None) -> datetime | None:
    """When the first message that may be sent before a moment is due; None while sending is paused."""
    if Pause.objects.on().exists():
        return None
    types = (backends or Backends()).able_types()
    return Notification.objects.next_due(before=before, types=types)


def _carry(until: float) -> int:
    with closing(Sending()) as work:
        return flow(work, until=until, opened=lambda: client_session(limit=work.concurrency))


def _tell_unbuilt(problem: str, *, now: datetime) -> None:
    raise_alert(
        "message-not-built",
        problem,
        f"Some messages ended as technical-failure: {problem}. Check their template and the log, then send "
        "them anew and resolve this alert. See README, message-not-built.",
        now=now,
    )


def due(*, now: datetime) -> Due:
    """Say which messages would be sent now."""
    return Due.of(Notification.objects.due(now), "due_at")
