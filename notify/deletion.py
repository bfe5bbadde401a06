"""Deleting what is past retention: in bounded batches, each its own transaction, asking every floor from the top down.

N days keep N whole local days plus today. Only final messages go, those of a job only once it is archived (an archived
job is never processed again, so nothing comes back), and only after their day's totals are stored.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Min, Q, QuerySet
from django.db.models.expressions import RawSQL

from notify import floors, totals
from notify.alerts import close_alert, raise_alert
from notify.celery import stopping
from notify.clock import local_date, local_day, local_midnight
from notify.loops import KEYS_SHOWN, Due, refuse_transaction
from notify.models import DailyTotal, DataRetention, Notification, NotificationType, Service

logger = logging.getLogger(__name__)
FAILED = "retention-failed"
BATCH = 5_000  # rows per transaction
# Every look-up has an index, and thousands of places of a table of middling size tempt the planner to read all of it.
# What a crash of the database takes back of the last half second is deleted again by the next run.
_FOR_BATCHES = "SET LOCAL enable_seqscan = off; SET LOCAL synchronous_commit = off"


def retention_days() -> Callable[[UUID, str], int]:
    """Return the function that gives the days kept of a service's messages of one type."""
    own = {(row.service_id, row.notification_type): row.days for row in DataRetention.objects.all()}
    return lambda service, kind: own.get((service, kind), settings.RETENTION_DAYS)


ARCHIVED = Q(job=None) | Q(job__archived=True)


def finished(service: UUID, kind: str, *, before: datetime) -> QuerySet[Notification]:
    """Return the final messages from before a moment, those included whose job is not archived yet."""
    done = Notification.objects.filter(service=service, notification_type=kind, status__in=Notification.FINAL)
    return done.filter(created_at__lt=before)


def removable(service: UUID, kind: str, *, before: datetime) -> QuerySet[Notification]:
    """Return the final messages from before a moment whose job, if any, is archived."""
    return finished(service, kind, before=before).filter(ARCHIVED)


def cut_off(days: int, *, now: datetime) -> datetime:
    """Return from which moment on messages are kept: N whole local days and today."""
    return local_midnight(local_date(now) - timedelta(days=days))


def delete_past_retention(*, now: datetime) -> dict[str, int]:
    """Delete what is past retention, one service and channel after another; stops where the worker is told to.

    A failure stops only its service and channel and is alerted; the next run goes on there. Two runs at once share the
    work. Returns how many messages went, and (as callbacks) how many rows that go by their own age.
    """
    refuse_transaction()
    deleted = 0
    for service, kind, days in _kept_days():
        try:
            deleted += _delete_of(service, kind, cut_off(days, now=now), now=now)
            if not stopping():  # it came to its end
                close_alert(FAILED, f"service {service}, {kind}", now=now)
        except SoftTimeLimitExceeded:
            raise  # no fault of this service: the next run goes on here
        except Exception as error:
            logger.warning("Retention of service %s, %s, stopped", service, kind, exc_info=error)
            _tell_failed(service, kind, error, now=now)
    callbacks = 0
    while not stopping() and (gone := sum(floors.ask("retention", [], now=now, kind="").values())):
        callbacks += gone
    return {"deleted": deleted, "callbacks": callbacks}


def due(*, now: datetime) -> Due:
    """Say how many messages would go now."""
    count, oldest, keys = 0, None, []
    for service, kind, days in _kept_days():
        part = Due.of(removable(service, kind, before=cut_off(days, now=now)), "created_at")
        count += part.count
        keys += part.keys
        oldest = min(filter(None, (oldest, part.oldest)), default=None)
    return Due(count, oldest, keys[:KEYS_SHOWN])


def _kept_days() -> list[tuple[UUID, str, int]]:
    days = retention_days()
    services = Service.objects.order_by("pk").values_list("pk", flat=True)
    return [(service, kind, days(service, kind)) for service in services for kind in NotificationType.values]


def _delete_of(service: UUID, kind: str, before: datetime, *, now: datetime) -> int:
    """Delete day by day, the oldest first; a day that has no total yet is stored before."""
    rows = removable(service, kind, before=before)
    deleted = 0
    while not stopping():
        oldest = rows.aggregate(oldest=Min("created_at"))["oldest"]
        if oldest is None:
            break
        day = local_date(oldest)
        total = DailyTotal.objects.filter(day=day, service=service, notification_type=kind)
        if not total.exists():
            totals.store_day(day, judged_on=local_date(now))
        start, end = local_day(day)
        of_day = rows.filter(created_at__gte=start, created_at__lt=end).order_by("created_at")
        gone = _delete_day(of_day, total, kind, now=now)
        deleted += gone
        if not gone:  # another run holds these rows
            break
        rows = rows.filter(created_at__gte=end)  # the index still knows what just went: do not look there again
    return deleted


def _delete_day(rows: QuerySet[Notification], total: QuerySet[DailyTotal], kind: str, *, now: datetime) -> int:
    """Delete batch by batch: the floors above remove what is theirs, then the messages go.

    Locked rows cannot change meanwhile, nor move: they are deleted by their place, without another look-up by key.
    """
    lock = rows.select_for_update(skip_locked=True, of=("self",))
    deleted = 0
    while not stopping():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FOR_BATCHES)
            sql, values = lock.values("pk", place=RawSQL("notify_notification.ctid", []))[
                :BATCH
            ].query.sql_with_params()
            # As text and in one row: made into UUIDs one by one, the keys would cost more than deleting them.
            both = f"SELECT string_agg(pk::text, ','), array_agg(place)::text FROM ({sql}) AS locked(pk, place)"  # noqa: S608
            cursor.execute(both, values)
            keys, places = cursor.fetchone()
            if keys is None:
                break
            if not deleted:
                total.filter(thinned=False).update(thinned=True)
            floors.ask("retention", keys.split(","), now=now, kind=kind)
            cursor.execute("DELETE FROM notify_notification WHERE ctid = ANY(%s::tid[])", [places])
            deleted += cursor.rowcount
    return deleted


def _tell_failed(service: UUID, kind: str, error: Exception, *, now: datetime) -> None:
    raise_alert(
        FAILED,
        f"service {service}, {kind}",
        f"Messages past their retention could not be deleted ({type(error).__name__}); what was deleted before stays "
        "deleted. It is tried again every night. Personal data is kept for longer than promised until it succeeds: "
        f"look at the log of notify.deletion and mend the cause. See README, {FAILED}.",
        now=now,
    )
