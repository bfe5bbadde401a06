"""Ingest: a CSV file becomes committed notifications (parsed, checked, normalised, encrypted), in one process.

Beside it, in the same run on the same rows: plain COPY of ready-made rows (the limit), one INSERT and commit per row
(the way it is not done), and processing the complete job once more.

    python -m bench.ingest [--sizes 10000 100000] [--rounds 5]
"""

import argparse
import csv
import io
import uuid

from bench.measure import as_measured_process, database, interleaved, median, peak_memory, seconds, show

TARGET_OF_COPY, SINGLE_ROWS = 0.6, 1_000


def file_of(rows: int) -> bytes:
    """Make a file like the sample of appointments."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["Phone number", "name", "date", "place", "reference"])
    for row in range(rows):
        number = f"07700 900{row % 1000:03d}" if row % 2 else f"+447700900{row % 1000:03d}"
        writer.writerow([number, f"Éléonore Person {row}", "6 December 2026", "Town Hall, room 2", f"A{row:06d}"])
    return out.getvalue().encode()


class Bench:
    """One size: a job's file and the ways to put its rows into the database."""

    def __init__(self, rows: int) -> None:
        from django.utils import timezone

        from jobs.creation import create_job
        from notify.testing import make_service, make_template

        service = make_service(sms_daily_limit=100_000_000)
        self.template = make_template(
            service, content="((name)), your appointment is on ((date)) at ((place)). Ref ((reference))"
        )
        self.rows, self.service = rows, service
        self.create = lambda: create_job(
            io.BytesIO(file_of(rows)), service=service, template=self.template, file_name="a.csv", now=timezone.now()
        )
        self.lines = ""

    def ingest(self) -> float:
        """Process a new job of this size; the file's own checks at upload are not part of it."""
        job = self.create()
        taken = seconds(lambda: process(str(job.pk)))
        job.refresh_from_db()
        if job.status != "finished all notifications created":
            raise SystemExit(f"the job is {job.status}: {job.status_reason}")
        self.job = job
        return taken

    def again(self) -> float:
        """Process the complete job once more."""
        from django.utils import timezone

        from jobs import processing
        from jobs.models import Job

        job = Job.objects.select_related("service", "template").get(pk=self.job.pk)
        return seconds(lambda: processing.process_rows(job, clock=timezone.now))

    def keep(self) -> None:
        """Keep the last job's rows as ready-made lines and remove them, so that COPY writes the very same rows."""
        from django.db import connection

        out = io.StringIO()
        with connection.cursor() as cursor:
            cursor.copy_expert(
                f"COPY (SELECT * FROM notify_notification WHERE job_id = '{self.job.pk}') TO STDOUT", out
            )
        self.lines = out.getvalue()

    def copy(self) -> float:
        """Plain COPY of the same rows, then removed outside the time taken."""
        from django.db import connection

        self.clear()
        with connection.cursor() as cursor:
            return seconds(lambda: cursor.copy_expert("COPY notify_notification FROM STDIN", io.StringIO(self.lines)))

    def single(self) -> float:
        """One INSERT and commit per row, for SINGLE_ROWS of the same rows; scaled to all of them."""
        from django.db import connection

        self.clear()
        some = self.lines.splitlines(keepends=True)[:SINGLE_ROWS]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE IF NOT EXISTS few (LIKE notify_notification)")
            cursor.execute("TRUNCATE few")
            cursor.copy_expert("COPY few FROM STDIN", io.StringIO("".join(some)))
            cursor.execute("SELECT * FROM few")
            rows = cursor.fetchall()
            marks = ", ".join(["%s"] * len(rows[0]))

            def insert() -> None:
                for row in rows:
                    cursor.execute(f"INSERT INTO notify_notification VALUES ({marks})", row)

            return seconds(insert) * self.rows / len(rows)

    def clear(self) -> None:
        """Empty the table, its indexes included."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE notify_notification CASCADE")


def process(job_id: str) -> None:
    """Claim a pending job and make its notifications, as the worker's task does."""
    from django.utils import timezone

    from jobs import processing

    processing.process_rows(processing.claim_job(uuid.UUID(job_id), now=timezone.now()), clock=timezone.now)


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--process", metavar="JOB", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.process:
        as_measured_process(lambda: process(options.process))
        return
    table = []
    with database():
        for rows in options.sizes:
            bench = Bench(rows)

            def fresh(bench: Bench = bench) -> float:
                bench.clear()
                return bench.ingest()

            fresh()
            bench.keep()
            ways = {"ingest": fresh, "again": bench.again, "copy": bench.copy, "single": bench.single}
            taken = {name: median(values) for name, values in interleaved(ways, options.rounds).items()}
            bench.clear()
            memory = peak_memory("bench.ingest", "--process", str(bench.create().pk))
            for name, label in (
                ("copy", "plain COPY of the same rows (the limit)"), ("ingest", "ingest"),
                ("single", f"one INSERT and commit per row (of {SINGLE_ROWS:,}, scaled)"),
                ("again", "the complete job again"),
            ):  # fmt: skip
                of_copy = f"{taken['copy'] / taken[name]:.2f}" if name != "again" else ""
                of_single = f"{taken['single'] / taken[name]:.0f}" if name != "again" else ""
                shown = f"{memory:.0f}" if name == "ingest" else ""
                rate = f"{rows / taken[name]:,.0f}"
                table.append([label, f"{rows:,}", f"{taken[name]:.2f}", rate, of_copy, of_single, shown])
    columns = ["what", "rows", "seconds", "rows/s", "of COPY", "× single", "peak MB"]
    show(f"Ingest, medians of {options.rounds} interleaved rounds (aim: {TARGET_OF_COPY} of COPY)", columns, table)


if __name__ == "__main__":
    main()
