"""A local day's messages counted by outcome: one statement per day, which replaces what was stored before.

What retention has deleted cannot be counted again: such totals stay as they are (`thinned`, or past retention).
"""

import time
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from notify.celery import stopping
from notify.clock import local_date, local_day, local_midnight
from notify.loops import KEYS_SHOWN, Due
from notify.models import DailyTotal, DataRetention, Notification

Status = Notification.Status
UNSETTLED = sorted(set(Status.values) - set(Notification.FINAL))
# No provider was to be asked for these (yet): they count in no share of what was sent.
NEVER_SENT = frozenset({
    Status.CREATED, Status.VALIDATION_FAILED, Status.PENDING_VIRUS_CHECK, Status.VIRUS_SCAN_FAILED, Status.CANCELLED,
})  # fmt: skip
_LONGEST = timedelta(days=91)  # the longest retention and today: older days have no messages to count again

# By service first, so that each part of the day is read from an index.
_STORE = """
    INSERT INTO notify_dailytotal AS stored
        (day, service_id, notification_type, counts, sent_within_ten_seconds, thinned, pushed_at)
    SELECT %(day)s, s.id, made.notification_type, jsonb_object_agg(made.status, made.messages), sum(made.quick),
        false, NULL
    FROM notify_service s CROSS JOIN LATERAL (
        SELECT n.notification_type, n.status, count(*) AS messages,
            count(*) FILTER (WHERE n.sent_at - n.created_at <= interval '10 seconds') AS quick
        FROM notify_notification n
        WHERE n.service_id = s.id AND n.created_at >= %(start)s AND n.created_at < %(end)s
        GROUP BY n.notification_type, n.status
    ) made GROUP BY s.id, made.notification_type
    ON CONFLICT (day, service_id, notification_type) DO UPDATE
    SET counts = EXCLUDED.counts, sent_within_ten_seconds = EXCLUDED.sent_within_ten_seconds, pushed_at = NULL
    WHERE NOT stored.thinned AND stored.day >= %(judged_on)s::date - coalesce(
        (SELECT r.days FROM notify_dataretention r
         WHERE r.service_id = stored.service_id AND r.notification_type = stored.notification_type), %(days)s)
"""

# By service first for the same reason.
_WITH_MESSAGES = """
    SELECT d.day FROM unnest(%s::date[], %s::timestamptz[], %s::timestamptz[]) AS d(day, starts, ends)
    WHERE EXISTS (
        SELECT 1 FROM notify_service s CROSS JOIN LATERAL (
            SELECT 1 FROM notify_notification n
            WHERE n.service_id = s.id AND n.created_at >= d.starts AND n.created_at < d.ends LIMIT 1
        ) made)
"""


def store_day(day: date, *, judged_on: date) -> int:
    """Count one local day (23 or 25 hours when the clocks change) and store it. Returns how many totals were written.

    judged_on: the local date of the last retention run; totals it may have touched stay as stored. A total that was
    never stored is always written: nothing is deleted before its day is stored.
    """
    start, end = local_day(day)
    values = {"day": day, "start": start, "end": end, "judged_on": judged_on, "days": settings.RETENTION_DAYS}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STORE, values)
        return cursor.rowcount


def store_due(*, now: datetime, after: date | None = None) -> tuple[dict[str, int], date | None]:
    """Store what is due, oldest day first, for about LOOP_FOR: a first run may have months to count.

    after: the last day that an earlier turn of the same run stored; a day may be due as it was before.
    Returns how many days were counted and totals written, and the last day where some are left: the next turn goes on
    after it. The coming night's retention has not run yet, so yesterday's is the last that may have touched a total.
    """
    until = time.monotonic() + settings.LOOP_FOR.total_seconds()
    last_retention = local_date(now) - timedelta(days=1)
    days = [day for day in days_due(now=now) if after is None or day > after]
    done = {"found": 0, "repaired": 0}
    for day in days:
        done["found"] += 1
        done["repaired"] += store_day(day, judged_on=last_retention)
        if day < days[-1] and (stopping() or time.monotonic() >= until):
            return done, day
    return done, None


def days_due(*, now: datetime) -> list[date]:
    """Return the local days to store, oldest first.

    Yesterday; every day with messages that has no total, and those that had messages without a final status; both as
    far back as the longest retention, older ones are stored before retention deletes of them.
    """
    today = local_date(now)
    yesterday = today - timedelta(days=1)
    stored = DailyTotal.objects.filter(day__gte=today - _LONGEST, day__lt=today)
    unsettled = stored.filter(thinned=False, counts__has_any_keys=UNSETTLED).values_list("day", flat=True)
    there = set(stored.values_list("day", flat=True))
    missing = {today - timedelta(days=age) for age in range(2, _LONGEST.days + 1)} - there
    return sorted({*unsettled, *_with_messages(sorted(missing)), yesterday})


def _with_messages(days: list[date]) -> list[date]:
    """Return those of the local days on which any service made a message."""
    edges = [local_day(day) for day in days]
    with connection.cursor() as cursor:
        cursor.execute(_WITH_MESSAGES, [days, [start for start, _ in edges], [end for _, end in edges]])
        return [day for (day,) in cursor.fetchall()]


def kept(day: date, *, today: date) -> list[DailyTotal]:
    """Return the stored totals of a day that retention may have touched: they are not counted again."""
    own = {(row.service_id, row.notification_type): row.days for row in DataRetention.objects.all()}
    stored = DailyTotal.objects.filter(day=day).select_related("service").order_by("service__name", "notification_type")
    return [
        total
        for total in stored
        if total.thinned
        or day < today - timedelta(days=own.get((total.service_id, total.notification_type), settings.RETENTION_DAYS))
    ]


def due(*, now: datetime) -> Due:
    """Say which days would be stored now."""
    days = days_due(now=now)
    return Due(len(days), local_midnight(days[0]), [str(day) for day in days[:KEYS_SHOWN]])
