"""Retention: messages past it are deleted as the nightly task does, with what belongs to them, while others read on.

Beside it, in the same run on the same rows: one plain DELETE with the same foreign keys (the limit), and what another
query costs meanwhile: the newest message of a job's row, as receipts and pages ask for it.

    python -m bench.retention [--sizes 2000 20000 200000] [--share 10] [--rounds 5]

A size is the messages kept; one for each `share` of them is deleted per round. The day's totals are stored before, as
every night. `--sizes 50000 500000 5000000 --share 50` is the long form: 100,000 of 5,000,000.
"""

import argparse
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.measure import ROOT, database, interleaved, median, seconds, show

AIM_RATE, AIM_RATIO, AIM_SLOWER = 50_000, 0.7, 2.0
JOB_ROWS = 1_000
IDLE = 1.0  # seconds of the other query with nothing else going on
_JOBS = """
    INSERT INTO jobs_job (id, service_id, template_id, template_version, original_file_name, file, encoding, delimiter,
        sha256, notification_count, status, status_reason, created_at, progressed_at, recoveries, removal_failures,
        archived)
    SELECT gen_random_uuid(), %(service)s, %(template)s, 1, 'a.csv', '', 'utf-8-sig', ',', 'x', %(each)s,
        'finished all notifications created', '', %(start)s + i * interval '1 second', %(start)s, 0, 0, true
    FROM generate_series(1, %(jobs)s) i RETURNING id
"""
_ROWS = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, job_id, job_row_number,
        notification_type, recipient, recipient_hash, personalisation, client_reference, status, status_reason,
        provider_name, provider_reference, attempts, unknown_outcomes, created_at, sent_at, delivered_at, updated_at)
    SELECT gen_random_uuid(), j.service_id, j.template_id, 1, j.id, r, 'sms', decode(repeat('61', 200), 'hex'),
        md5(random()::text), '\\x00', '', 'delivered', '', 'mmg', '', 1, 0, j.created_at, j.created_at, j.created_at,
        j.created_at
    FROM jobs_job j CROSS JOIN generate_series(0, %(each)s - 1) r WHERE j.id = ANY(%(jobs)s::uuid[])
"""
_PLAIN = "DELETE FROM notify_notification WHERE created_at < %s"


class Bench:
    """One service's messages: many that are kept, and some past retention, made anew for each round."""

    def __init__(self) -> None:
        from notify.testing import make_template

        self.template = make_template()
        self.now = datetime.now(UTC)
        self.old = self.now - timedelta(days=30)

    def fill(self, rows: int, start: datetime) -> None:
        """Add jobs with this many messages in all, archived, made one second after another from `start` on."""
        from django.db import connection

        jobs = max(1, round(rows / JOB_ROWS))
        each = rows // jobs
        values = {"service": self.template.service_id, "template": self.template.pk, "each": each, "start": start}
        with connection.cursor() as cursor:
            cursor.execute(_JOBS, values | {"jobs": jobs})
            keys = [str(row[0]) for row in cursor.fetchall()]
            cursor.execute(_ROWS, {"each": each, "jobs": keys})

    def kept(self, rows: int) -> None:
        """Bring the messages that are kept up to this many."""
        from django.db import connection

        from notify.models import Notification

        missing = rows - Notification.objects.count()
        if missing > 0:
            self.fill(missing, self.now - timedelta(days=1))
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE notify_notification")

    def made_old(self, rows: int) -> None:
        """Add messages past retention, counted already; no left-over of an earlier round speaks in the figures."""
        from django.db import connection

        from notify import totals
        from notify.clock import local_date
        from notify.models import DailyTotal

        DailyTotal.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM notify_notification")
        self.fill(rows, self.old)
        totals.store_day(local_date(self.old), judged_on=local_date(self.now))
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE notify_notification")
            cursor.execute("CHECKPOINT")

    def retention(self, rows: int) -> float:
        """Delete them as the task does."""
        from notify import deletion

        self.made_old(rows)
        gone: dict[str, int] = {}
        taken = seconds(lambda: gone.update(deletion.delete_past_retention(now=self.now)))
        if gone["deleted"] != rows:
            raise SystemExit(f"{gone['deleted']:,} of {rows:,} messages were deleted.")
        return taken

    def plain(self, rows: int) -> float:
        """Delete them in one statement."""
        from django.db import connection

        self.made_old(rows)
        with connection.cursor() as cursor:
            taken = seconds(lambda: cursor.execute(_PLAIN, [self.now - timedelta(days=20)]))
            if cursor.rowcount != rows:
                raise SystemExit(f"{cursor.rowcount:,} of {rows:,} messages were deleted.")
        return taken


class Reader:
    """Another process that asks for one message after another, a hundred times a second, and notes how long it took."""

    def __enter__(self) -> "Reader":
        from django.db import connection

        environment = os.environ | {"BENCH_DATABASE": connection.settings_dict["NAME"]}
        command = [sys.executable, "-m", "bench.retention", "--read"]
        self._child = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._child.stdout.readline()  # it is ready
        return self

    def p95(self, what: Any) -> float:
        """Return the 95th percentile in milliseconds of what it asked while `what` ran."""
        self._say("begin")
        what()
        return float(self._say("end"))

    def __exit__(self, *error: object) -> None:
        self._child.stdin.close()
        self._child.wait()

    def _say(self, word: str) -> str:
        self._child.stdin.write(f"{word}\n")
        self._child.stdin.flush()
        return self._child.stdout.readline()


def read() -> None:
    """Be that process."""
    import random
    import select

    import django

    django.setup()
    from django.db import connection

    connection.settings_dict["NAME"] = os.environ["BENCH_DATABASE"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM jobs_job WHERE created_at > now() - interval '5 days' LIMIT 1000")
        jobs = [row[0] for row in cursor.fetchall()]
        print("ready", flush=True)
        taken: list[float] = []
        while True:
            if select.select([sys.stdin], [], [], 0.01)[0]:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                if word == "end":
                    taken.sort()
                    print(1_000 * taken[int(len(taken) * 0.95)] if taken else 0, flush=True)
                else:
                    taken = []
                    print("begun", flush=True)
                continue
            place = [random.choice(jobs), random.randrange(JOB_ROWS)]
            start = time.perf_counter()
            cursor.execute("SELECT * FROM notify_notification WHERE job_id = %s AND job_row_number = %s", place)
            cursor.fetchall()
            taken.append(time.perf_counter() - start)


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--share", type=int, default=10, help="one message in so many is deleted")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read()
        return
    table: list[list[Any]] = []
    with database():
        bench = Bench()
        for size in options.sizes:
            bench.kept(size)
            table += measure(bench, size, size // options.share, options.rounds)
    columns = ["what", "kept", "deleted", "seconds", "rows/s", "of plain", "another query's p95, ms", "× idle"]
    show(
        f"Retention, medians of {options.rounds} interleaved rounds (aims: {AIM_RATE:,} rows/s, {AIM_RATIO} of plain, "
        f"another query at most × {AIM_SLOWER:g})",
        columns,
        table,
    )


def measure(bench: Bench, size: int, rows: int, rounds: int) -> list[list[Any]]:
    """Return one size's lines: the plain statement, retention, and retention while another process reads."""
    bench.retention(rows)
    ways = {"plain": lambda: bench.plain(rows), "retention": lambda: bench.retention(rows)}
    taken = {name: median(values) for name, values in interleaved(ways, rounds).items()}
    idle, meanwhile = [], []
    with Reader() as reader:
        for _ in range(rounds):
            idle.append(reader.p95(lambda: time.sleep(IDLE)))
            bench.made_old(rows)
            meanwhile.append(reader.p95(lambda: _delete(bench)))
    alone, slowed = median(idle), median(meanwhile)
    lines = []
    for name, label in (("plain", "one plain DELETE (the limit)"), ("retention", "retention")):
        own = taken[name]
        reads = [f"{slowed:.2f} ({alone:.2f} idle)", f"{slowed / alone:.1f}"] if name == "retention" else ["", ""]
        lines.append(
            [label, f"{size:,}", f"{rows:,}", f"{own:.3f}", f"{rows / own:,.0f}", f"{taken['plain'] / own:.2f}", *reads]
        )
    return lines


def _delete(bench: Bench) -> None:
    from notify import deletion

    deletion.delete_past_retention(now=bench.now)


if __name__ == "__main__":
    main()
