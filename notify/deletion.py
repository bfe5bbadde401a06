"""Deleting what is past retention: in bounded batches, each its own transaction, asking every floor from the top down.

N days keep N whole local days plus today. Only final messages go, those of a job only once it is archived (an archived
job is never processed again, so nothing comes back), and only after their day's totals are stored.
"""

import logging
import time
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
from notify.bulk import among
from notify.celery import stopping
from notify.clock import local_date, local_day, local_midnight
from notify.loops import KEYS_SHOWN, Due, refuse_transaction, slot
from notify.models import Alert, DailyTotal, DataRetention, Notification, NotificationType, Service

logger = logging.getLogger(__name__)
LOOP = "notify.delete_notifications_older_than_retention"
FAILED, BEHIND = "retention-failed", "retention-behind"
BEHIND_DAYS = 3  # whole days past retention and not deleted before a person is told
BATCH = 10_000  # rows per transaction
BATCH_WITH_FILES = 50  # letters: as many files go one after the other before the clock is looked at
# Every look-up has an index, and thousands of places of a table of middling size tempt the planner to read all of it.
# What a crash of the database takes back of the last half second is deleted again by the next run.
_FOR_BATCHES = "SET LOCAL enable_seqscan = off; SET LOCAL synchronous_commit = off"
# The keys as text: made into UUIDs one by one, they would cost more than deleting their rows.
_IN_ONE_ROW = "SELECT string_agg(pk::text, ','), array_agg(place)::text, max(made)"


def retention_days() -> Callable[[UUID, str], int]:
    """Return the function that gives the days kept of a service's messages of one type."""
    own = {(row.service_id, row.notification_type): row.days for row in DataRetention.objects.all()}
    return lambda service, kind: own.get((service, kind), settings.RETENTION_DAYS)


def archived(service: UUID) -> Q:
    """Return the condition that a message of this service is of no job, or of an archived one.

    Asked the other way round: jobs that are not archived are few and read once, where a join looks up every message's.
    """
    jobs = Notification._meta.get_field("job").related_model.objects.filter(service=service, archived=False)
    return ~Q(job__in=jobs.values("pk"))


def finished(service: UUID, kind: str, *, before: datetime) -> QuerySet[Notification]:
    """Return the final messages from before a moment, those included whose job is not archived yet."""
    done = Notification.objects.filter(service=service, notification_type=kind, status__in=Notification.FINAL)
    return done.filter(created_at__lt=before)


def removable(service: UUID, kind: str, *, before: datetime) -> QuerySet[Notification]:
    """Return the final messages from before a moment whose job, if any, is archived."""
    return finished(service, kind, before=before).filter(archived(service))


def cut_off(days: int, *, now: datetime) -> datetime:
    """Return from which moment on messages are kept: N whole local days and today."""
    return local_midnight(local_date(now) - timedelta(days=days))


def delete_past_retention(*, now: datetime) -> dict[str, int]:
    """Delete what is past retention for at most LOOP_FOR: SMS of all services first, letters with their files last.

    A failure stops only its service and channel and is alerted; what failed comes last in the next run. Two runs at
    once share the work; a third leaves it to them. Returns how many messages went, (as callbacks) how many rows that
    go by their own age, and as unfinished 1 when time was up and it is worth going on at once.
    """
    refuse_transaction()
    until = time.monotonic() + settings.LOOP_FOR.total_seconds()
    with slot(LOOP) as mine:
        if not mine:
            return {"deleted": 0, "callbacks": 0, "unfinished": 0}
        failed = set(Alert.objects.open().filter(kind=FAILED).values_list("scope", flat=True))
        deleted = sum(_delete_and_tell(*place, until, now=now) for place in _kept_days(failed) if not stopping())
        callbacks = sum(_drain(floor, run, until, now=now) for floor, run in floors.having("retention").items())
    out_of_time = not stopping() and time.monotonic() >= until
    if out_of_time:
        words = "Retention: time is up after %s messages and %s rows of their own age"
        logger.info(words, deleted, callbacks, extra={"count": deleted})
    return {"deleted": deleted, "callbacks": callbacks, "unfinished": int(out_of_time and deleted + callbacks > 0)}


def due(*, now: datetime) -> Due:
    """Say how many messages would go now."""
    count, oldest, keys = 0, None, []
    for service, kind, days in _kept_days():
        part = Due.of(removable(service, kind, before=cut_off(days, now=now)), "created_at")
        count += part.count
        keys += part.keys
        oldest = min(filter(None, (oldest, part.oldest)), default=None)
    return Due(count, oldest, keys[:KEYS_SHOWN])


def _kept_days(last: set[str] = frozenset()) -> list[tuple[UUID, str, int]]:
    """Return each service and channel with the days kept. last: the scopes that come at the end."""
    days = retention_days()
    services = list(Service.objects.order_by("pk").values_list("pk", flat=True))
    places = [(service, kind) for kind in NotificationType.values for service in services]
    return [(*place, days(*place)) for place in sorted(places, key=lambda place: _scope(*place) in last)]


def _scope(service: UUID, kind: str) -> str:
    return f"service {service}, {kind}"


def _over(until: float) -> bool:
    return stopping() or time.monotonic() >= until


def _delete_and_tell(service: UUID, kind: str, days: int, until: float, *, now: datetime) -> int:
    """Delete one service's messages of one channel; alert what failed and what is days behind. Returns how many."""
    before, scope = cut_off(days, now=now), _scope(service, kind)
    try:
        deleted, left = _delete_of(service, kind, before, until, now=now)
    except SoftTimeLimitExceeded:
        raise  # no fault of this service: the next run goes on here
    except Exception as error:
        logger.warning("Retention of %s stopped", scope, exc_info=error)
        _tell_failed(scope, error, now=now)
        return 0
    if left is None:
        close_alert(FAILED, scope, now=now)
        close_alert(BEHIND, scope, now=now)
    elif left < cut_off(days + BEHIND_DAYS, now=now):
        _tell_behind(scope, left, now=now)
    return deleted


def _delete_of(
    service: UUID, kind: str, before: datetime, until: float, *, now: datetime
) -> tuple[int, datetime | None]:
    """Delete day by day, the oldest first; a day that has no total yet is stored before.

    Returns how many went, and from when the oldest is that was left, because time was up or somebody holds it.
    """
    rows = removable(service, kind, before=before)
    deleted, left = 0, None
    while (oldest := rows.aggregate(oldest=Min("created_at"))["oldest"]) is not None:
        if _over(until):
            return deleted, left or oldest
        day = local_date(oldest)
        total = DailyTotal.objects.filter(day=day, service=service, notification_type=kind)
        if not total.exists():
            totals.store_day(day, judged_on=local_date(now))
        start, end = local_day(day)
        of_day = rows.filter(created_at__gte=start, created_at__lt=end).order_by("created_at")
        gone = _delete_day(of_day, total, kind, until, now=now)
        deleted += gone
        if not gone or _over(until):
            left = left or of_day.values_list("created_at", flat=True).first()  # another run may have taken the last
        rows = rows.filter(created_at__gte=end)  # the index still knows what just went: do not look there again
    return deleted, left


def _delete_day(
    rows: QuerySet[Notification], total: QuerySet[DailyTotal], kind: str, until: float, *, now: datetime
) -> int:
    """Delete batch by batch; of letters the files go first."""
    deleted = 0
    while not _over(until):
        batch = _without_files(rows, now=now) if kind == NotificationType.LETTER else rows
        gone, last = _delete_batch(batch, total, kind, now=now)
        if not gone:
            break
        deleted += gone
        rows = rows.filter(created_at__gte=last)  # the index still knows what just went
    return deleted


def _without_files(rows: QuerySet[Notification], *, now: datetime) -> QuerySet[Notification]:
    """Have the floors delete the files of the next batch, and return its rows.

    No lock is held meanwhile: a storage may be slow. Cut off before the rows go, the next run finds them again, so no
    file stays that no row names; and a final letter stays final, so nobody needs a file whose row stays a while.
    """
    keys = list(rows.values_list("pk", flat=True)[: min(BATCH, BATCH_WITH_FILES)])
    floors.ask("retention_files", keys, now=now)
    return rows.filter(pk__in=among(keys))


def _delete_batch(
    rows: QuerySet[Notification], total: QuerySet[DailyTotal], kind: str, *, now: datetime
) -> tuple[int, datetime | None]:
    """Delete one batch in a transaction: the floors above remove what is theirs, then the messages go.

    Locked rows cannot change meanwhile, nor move: they are deleted by their place, without another look-up by key.
    Returns how many went, and when the last of them was made.
    """
    lock = rows.select_for_update(skip_locked=True, of=("self",))
    locked = lock.values("pk", "created_at", place=RawSQL("notify_notification.ctid", []))[:BATCH]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FOR_BATCHES)
        sql, values = locked.query.sql_with_params()
        cursor.execute(f"{_IN_ONE_ROW} FROM ({sql}) AS locked(pk, made, place)", values)
        keys, places, last = cursor.fetchone()
        if keys is None:
            return 0, None
        total.filter(thinned=False).update(thinned=True)
        floors.ask("retention", keys.split(","), now=now, kind=kind)
        cursor.execute("DELETE FROM notify_notification WHERE ctid = ANY(%s::tid[])", [places])
        return cursor.rowcount, last


def _drain(floor: str, run: Callable[..., int], until: float, *, now: datetime) -> int:
    """Let one floor delete what goes by its own age, batch by batch, until nothing is left. Returns how many."""
    deleted = 0
    try:
        while not _over(until) and (gone := run([], now=now, kind="")):
            deleted += gone
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        logger.warning("Retention of rows of %s stopped", floor, exc_info=error)
        _tell_failed(f"rows of {floor}", error, now=now)
    else:
        if not _over(until):
            close_alert(FAILED, f"rows of {floor}", now=now)
    return deleted


def _tell_failed(scope: str, error: Exception, *, now: datetime) -> None:
    raise_alert(
        FAILED,
        scope,
        f"What is past its retention could not be deleted ({type(error).__name__}); what was deleted before stays "
        "deleted. It is tried again every night. Personal data is kept for longer than promised until it succeeds: "
        f"look at the log of notify.deletion and mend the cause. See README, {FAILED}.",
        now=now,
    )


def _tell_behind(scope: str, oldest: datetime, *, now: datetime) -> None:
    raise_alert(
        BEHIND,
        scope,
        f"Messages from {local_date(oldest):%-d %b %Y} are past their retention and not deleted yet: deletion goes on, "
        "but is days behind. Personal data is kept for longer than promised until it has caught up: see whether the "
        f"storage of PDFs is slow, or somebody holds these messages. See README, {BEHIND}.",
        now=now,
    )
