"""What each watchdog's finding query costs when nothing is wrong, while history grows.

    python -m bench.watchdogs [--sizes 1000x100 10000x100 100000x50] [--rounds 21]

A size is complete jobs × notifications each. The figures must not grow with history; the index each plan uses is
printed beside them. Finding missing rows also counts a finished job of 100,000 rows that is not complete. The slow
provider's query has 180,000 messages in its ten minutes at every size: target below 100 ms.
"""

import argparse
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.measure import database, median, seconds, show

_JOBS = """
    INSERT INTO jobs_job (id, service_id, template_id, template_version, original_file_name, file, encoding, delimiter,
        sha256, notification_count, status, status_reason, created_at, processing_started, progressed_at,
        processing_finished, recoveries, removal_failures, archived)
    SELECT gen_random_uuid(), %(service)s, %(template)s, 1, 'a.csv', 'a.csv', 'utf-8-sig', ',', 'x', %(each)s,
        'finished all notifications created', '', t, t, t, t, 0, 0, true
    FROM (SELECT now() - (i * interval '1 second') - interval '8 days' AS t
          FROM generate_series(1, %(jobs)s) i) moments
"""
_ROWS = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, job_id, job_row_number,
        notification_type, recipient, recipient_hash, personalisation, client_reference, status, status_reason,
        provider_name, provider_reference, attempts, unknown_outcomes, created_at, sent_at, delivered_at, updated_at)
    SELECT gen_random_uuid(), j.service_id, j.template_id, 1, j.id, r, 'sms', '\\x00', md5(r::text), '\\x00', '',
        'delivered', '', 'mmg', '', 1, 0, j.created_at, j.created_at, j.created_at, j.created_at
    FROM jobs_job j CROSS JOIN generate_series(0, %(each)s - 1) r
    WHERE NOT EXISTS (SELECT 1 FROM notify_notification n WHERE n.job_id = j.id)
"""
# Sent in the ten minutes before %(now)s by two providers; one in ten is still on the way or came late.
_WINDOW = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, notification_type, recipient,
        recipient_hash, personalisation, client_reference, status, status_reason, provider_name, provider_reference,
        attempts, unknown_outcomes, created_at, sent_at, delivered_at, updated_at)
    SELECT gen_random_uuid(), %(service)s, %(template)s, 1, 'sms', '\\x00', md5(i::text), '\\x00', '',
        CASE WHEN i %% 20 = 0 THEN 'sending' ELSE 'delivered' END, '',
        CASE WHEN i %% 2 = 0 THEN 'mmg' ELSE 'firetext' END, '', 1, 0, at, at,
        CASE WHEN i %% 20 > 0 THEN at + took END, CASE WHEN i %% 20 > 0 THEN at + took ELSE at END
    FROM (SELECT i, %(now)s - (i %% 600) * interval '1 second' AS at,
            CASE WHEN i %% 20 = 10 THEN interval '5 minutes' ELSE interval '20 seconds' END AS took
          FROM generate_series(1, %(rows)s) i) messages
"""


def finders(now: datetime, window_end: datetime) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """Give each finding query: its task, how it is run, and a queryset to explain (None where it is raw SQL).

    window_end: the moment by which the slow provider's window was filled; history grows around it.
    """
    from django.db.models import Count

    from callbacks.models import Callback
    from jobs.models import Job
    from notify.models import Notification
    from providers import switching
    from providers.models import Receipt

    querysets = {
        "jobs.run_scheduled_jobs": Job.objects.scheduled_due(now),
        "jobs.check_job_status": Job.objects.stalled(now),
        "jobs.check_job_status (given up)": Job.objects.given_up(),
        "jobs.check_for_missing_rows_in_completed_jobs": Job.objects.missing_rows(now),
        "… beyond repair": Job.objects.beyond_repair(now),
        "jobs.mark_jobs_complete": Job.objects.complete_uncounted(),
        "jobs.remove_csv_files": Job.objects.archivable(now).filter(aged_from__lt=now - timedelta(days=8)),
        "providers.send_due_notifications (lapsed)": Notification.objects.lapsed(now),
        "providers.send_due_notifications (held)": Notification.objects.held_for_person().order_by(),
        "providers.apply_receipts": Receipt.objects.due(now),
        "callbacks.deliver_due_callbacks": Callback.objects.due(now),
    }
    for name, rows in querysets.items():
        yield name, lambda rows=rows: list(rows.values_list("pk", flat=True)[:100]), rows
    types = ["sms", "email"]
    counted = switching.counted(switching.policy_of("sms"), now=window_end)
    yield "providers.switch_current_sms_provider_on_slow_delivery", lambda: list(counted.all()), counted
    recent = Notification.objects.recently_sent(window_end, notification_type="sms", window=timedelta(minutes=10))
    alone = recent.values("provider_name").annotate(total=Count("pk"))
    yield "… the limit: the same messages, only counted", lambda: list(alone.all()), alone
    yield "providers.send_due_notifications", lambda: Notification.objects.next_due(before=now, types=types), None


def fill(jobs: int, each: int) -> None:
    """Bring history up to this many complete jobs."""
    from django.db import connection

    from jobs.models import Job
    from notify.testing import make_template

    template = make_template()
    values = {"service": template.service_id, "template": template.pk, "jobs": jobs - Job.objects.count(), "each": each}
    with connection.cursor() as cursor:
        cursor.execute(_JOBS, values)
        cursor.execute(_ROWS, values)
        cursor.execute("VACUUM ANALYZE")


def fill_window(rows: int) -> datetime:
    """Add SMS sent in the last ten minutes and return the moment they end at."""
    from django.db import connection

    from notify.testing import make_template

    template, now = make_template(), datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute(_WINDOW, {"service": template.service_id, "template": template.pk, "now": now, "rows": rows})
    return now


def add_unfinished_count(rows: int) -> uuid.UUID:
    """Add one finished job of many rows that has all its notifications and was not counted yet."""
    from django.db import connection

    from jobs.models import Job
    from notify.testing import make_job

    now = datetime.now(UTC)
    job = make_job(rows=1, notification_count=rows, processing_finished=now - timedelta(hours=1), created_at=now)
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, {"each": rows})
        cursor.execute("VACUUM ANALYZE notify_notification")
    return Job.objects.get(pk=job.pk).pk


def indexes(rows: Any) -> str:
    """Return the indexes a queryset's plan uses, or “seq scan” with the table."""
    if rows is None:
        return "notification_due"
    plan = rows.explain()
    used = re.findall(r"using (\w+)|Bitmap Index Scan on (\w+)|(Seq Scan on \w+)", plan)
    return ", ".join(dict.fromkeys("".join(found) for found in used)) or "none"


def main() -> None:
    """Measure every size and print one table per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1000x100", "10000x100"])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--uncounted", type=int, default=100_000, help="rows of a finished job that is not counted yet")
    parser.add_argument("--window", type=int, default=180_000, help="SMS of the last ten minutes")
    options = parser.parse_args()
    results: dict[str, list[float]] = {}
    plans: dict[str, str] = {}
    with database():
        from jobs.models import Job
        from notify.models import Notification

        headings = []
        window_end = fill_window(options.window)
        for size in options.sizes:
            jobs, each = map(int, size.split("x"))
            fill(jobs, each)
            headings.append(f"{Job.objects.count():,} jobs, {Notification.objects.count():,} rows: ms")
            measure(results, plans, options.rounds, window_end)
        add_unfinished_count(options.uncounted)
        headings.append(f"and one of {options.uncounted:,} uncounted: ms")
        measure(results, plans, options.rounds, window_end)
    table = [[name, *(f"{value:.2f}" for value in values), plans[name]] for name, values in results.items()]
    show(f"Finding queries, nothing wrong, medians of {options.rounds}", ["query", *headings, "indexes"], table)


def measure(results: dict[str, list[float]], plans: dict[str, str], rounds: int, window_end: datetime) -> None:
    """Add one column of medians, in milliseconds."""
    for name, run, rows in finders(datetime.now(UTC), window_end):
        run()
        results.setdefault(name, []).append(1_000 * median([seconds(run) for _ in range(rounds)]))
        plans[name] = indexes(rows)


if __name__ == "__main__":
    main()
