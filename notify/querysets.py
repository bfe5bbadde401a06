"""Conditions on the ground floor's tables, each written once."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import F, Q

from notify import crypto
from notify.clock import local_date, local_midnight
from notify.states import States

# Due services first, then a few rows of each, their first ones before anybody's second: however many services have a
# backlog, another's ten messages do not wait behind it.
_FAIR = """
    WITH RECURSIVE waiting(service_id) AS (
        (SELECT service_id FROM notify_notification WHERE status = 'created' ORDER BY service_id LIMIT 1)
        UNION ALL
        SELECT (SELECT n.service_id FROM notify_notification n
                WHERE n.status = 'created' AND n.service_id > waiting.service_id ORDER BY n.service_id LIMIT 1)
        FROM waiting WHERE waiting.service_id IS NOT NULL
    ), active AS (
        SELECT s.id FROM waiting JOIN notify_service s ON s.id = waiting.service_id WHERE s.active
    )
    SELECT {read} FROM active CROSS JOIN LATERAL (
        SELECT n.id, n.due_at, n.notification_type FROM notify_notification n
        WHERE n.service_id = active.id AND n.status = 'created' AND n.due_at <= %(now)s AND n.claimed_at IS NULL
        AND n.notification_type = ANY(%(types)s)
        ORDER BY n.due_at
        LIMIT coalesce(%(each)s, ceil(%(limit)s::numeric / (SELECT count(*) FROM active))::bigint) {lock}
    ) due ORDER BY row_number() OVER (PARTITION BY active.id ORDER BY due.due_at), {tie} LIMIT %(limit)s
"""


class NotificationQuerySet(States):
    """What is due, in flight or found by a person."""

    def to_send(self) -> Self:
        """Created SMS and email, neither held nor printed; of services that are switched off, too."""
        return self.filter(
            status=self.model.Status.CREATED, notification_type__in=self.model.SENT_BY_LOOP, due_at__isnull=False
        )

    def due(self, now: datetime) -> Self:
        """To be sent now; a lapsed lease (claimed, and due again) included. Oldest first."""
        return self.to_send().filter(due_at__lte=now, service__active=True).order_by("due_at")

    def lapsed(self, now: datetime) -> Self:
        """Somebody began to send these and the lease ran out: nobody knows what became of them. Oldest first."""
        return self.to_send().filter(due_at__lte=now, claimed_at__isnull=False).order_by("due_at")

    def held_for_person(self) -> Self:
        """Nobody knows whether a provider took these; they wait for a person. In no order."""
        return self.filter(status=self.model.Status.CREATED, due_at__isnull=True, unknown_outcomes__gt=0)

    def recently_sent(self, now: datetime, *, notification_type: str, window: timedelta) -> Self:
        """Handed over within the window and delivered or still on the way: what a provider's speed is judged by.

        A window on purpose: these minutes are the measurement. Its start belongs to it.
        """
        statuses = [self.model.Status.DELIVERED, self.model.Status.SENDING, self.model.Status.PENDING]
        recent = self.filter(sent_at__gte=now - window, sent_at__lte=now, notification_type=notification_type)
        return recent.filter(status__in=statuses).order_by()

    def timed_out(self, now: datetime, *, statuses: Sequence[str]) -> Self:
        """SMS and email without a final status for longer than NOTIFICATION_TIMED_OUT_AFTER. Oldest first."""
        limit = now - settings.NOTIFICATION_TIMED_OUT_AFTER
        unsettled = self.filter(notification_type__in=self.model.SENT_BY_LOOP, status__in=statuses)
        return unsettled.filter(created_at__lt=limit).order_by("created_at")

    def waiting_long(self, now: datetime) -> Self:
        """Created for longer than NOTIFICATION_WAITING_AFTER, and due. Oldest first."""
        old = self.to_send().filter(created_at__lt=now - settings.NOTIFICATION_WAITING_AFTER, due_at__lte=now)
        return old.order_by("created_at")

    def not_final(self) -> Self:
        """Without a final status yet."""
        return self.exclude(status__in=self.model.FINAL)

    def counted_today(self, now: datetime, *, service: Any, notification_type: str) -> Self:
        """A service's messages of one type since local midnight that its daily limit counts."""
        today = self.filter(
            service=service, notification_type=notification_type, created_at__gte=local_midnight(local_date(now))
        )
        return today.exclude(status=self.model.Status.VALIDATION_FAILED)

    def found_by(self, text: str) -> Self:
        """Found by exact id, reference or recipient (any way of writing a phone number the caller normalised)."""
        text = text.strip()
        if not text:  # most messages have an empty reference
            return self.none()
        by_text = Q(client_reference=text) | Q(provider_reference=text) | Q(recipient_hash=crypto.search_hash(text))
        try:
            return self.filter(by_text | Q(pk=uuid.UUID(text)))
        except ValueError:
            return self.filter(by_text)

    def lock_fairly(self, *, now: datetime, limit: int, types: Sequence[str]) -> dict[str, str]:
        """Lock up to `limit` due, unclaimed rows, fairly between services, inside atomic(). Returns {key: type}.

        Keys are text. A first pass takes an equal part from every service that waits; a second fills what is left.
        """
        kinds = self._kinds(now=now, each=None, limit=limit, types=types)
        if 0 < len(kinds) < limit:  # the second finds those of the first again
            kinds |= self._kinds(now=now, each=limit, limit=limit + len(kinds), types=types)
        return dict(islice(kinds.items(), limit))

    def _kinds(self, *, now: datetime, each: int | None, limit: int, types: Sequence[str]) -> dict[str, str]:
        read = "due.id::text, due.notification_type"
        return dict(_fair(read, now=now, each=each, limit=limit, types=types, lock=True))

    def next_due(self, *, before: datetime, types: Sequence[str]) -> datetime | None:
        """When the first unclaimed row that is due before a moment is due; None when there is none."""
        found = _fair("due.due_at", now=before, each=1, limit=1, types=types, lock=False)
        return found[0][0] if found else None


def _fair(
    read: str, *, now: datetime, each: int | None, limit: int, types: Sequence[str], lock: bool
) -> list[tuple[Any, ...]]:
    # each: rows of one service; None means an equal part of the limit.
    # Of services that wait alike, chance decides who is first: one with old messages would win every small claim.
    how = ("FOR UPDATE SKIP LOCKED", "random()") if lock else ("", "due.due_at")
    sql = _FAIR.format(read=read, lock=how[0], tie=how[1])
    with connection.cursor() as cursor:
        cursor.execute(sql, {"now": now, "types": list(types), "each": each, "limit": limit})
        return cursor.fetchall()


class AlertQuerySet(models.QuerySet):
    """What is still wrong."""

    def open(self) -> Self:
        """Not resolved. Newest first."""
        return self.filter(resolved_at__isnull=True).order_by("-last_seen_at")

    def resolved(self) -> Self:
        """Whose cause is gone. Newest first."""
        return self.filter(resolved_at__isnull=False).order_by("-last_seen_at")

    def snoozed(self, now: datetime) -> Self:
        """Open, and put off by a person until a moment that is still to come. Newest first."""
        return self.open().filter(snoozed_until__gt=now)

    def acknowledged(self, now: datetime) -> Self:
        """Open, and a person is on it; those put off left out. Newest first."""
        return self.open().filter(_not_snoozed(now), acknowledged_at__isnull=False)

    def unattended(self, now: datetime) -> Self:
        """Open, and neither acknowledged nor put off: these are told. Newest first."""
        return self.open().filter(_not_snoozed(now), acknowledged_at__isnull=True)

    def untold(self, channel: str, now: datetime) -> Self:
        """To be told now by a channel (`email`, `webhook`), a lapsed lease included. Never tried first, then oldest.

        After ALERT_LAPSES_LIMIT tries that a crash cut off there is none more: it may have arrived each time.
        """
        due = Q(**{f"{channel}_due_at__isnull": True}) | Q(**{f"{channel}_due_at__lte": now})
        waiting = self.unattended(now).filter(due, **{f"{channel}_told_at__isnull": True})
        # The try that is still marked as begun is the last one; those before it were counted.
        counted = settings.ALERT_LAPSES_LIMIT - 1
        last = Q(**{f"{channel}_lapses__gte": counted, f"{channel}_claimed_at__isnull": False})
        return waiting.exclude(last).order_by(f"{channel}_attempts", "first_seen_at")

    def untold_long(self, channels: Sequence[str], now: datetime) -> Self:
        """To be told for longer than ALERT_UNTOLD_AFTER, and one of the channels has not done it. Oldest first."""
        limit = now - settings.ALERT_UNTOLD_AFTER
        since = self.unattended(now).filter(Q(snoozed_until__isnull=True) | Q(snoozed_until__lt=limit))
        missing = Q(pk__in=[])
        for channel in channels:
            missing |= Q(**{f"{channel}_told_at__isnull": True})
        return since.filter(missing, first_seen_at__lt=limit).order_by("first_seen_at")


def _not_snoozed(now: datetime) -> Q:
    return Q(snoozed_until__isnull=True) | Q(snoozed_until__lte=now)


def slower_than(slow_after: timedelta, now: datetime) -> Q:
    """Delivered after `slow_after` or more, or still on the way that long after being sent.

    Delivery takes from `sent_at` to the provider's own time, else to our last change, so that a backlog of receipts
    on our side does not look like a slow provider.
    """
    delivered = Q(status="delivered", arrived_at__gte=F("sent_at") + slow_after)
    return delivered | Q(status__in=["sending", "pending"], sent_at__lte=now - slow_after)
