"""Totals: one local day's messages counted and stored as the nightly task does.

Beside it, in the same run on the same rows: the bare GROUP BY that only counts them (the limit), and storing the day
once more, which replaces it.

    python -m bench.totals [--sizes 1000 10000 100000] [--services 10] [--rounds 5]

A size is the day's messages; as many lie on the day before and on the day after.
"""

import argparse
from datetime import timedelta
from typing import Any

from bench.measure import database, interleaved, median, seconds, show
from bench.retention import Bench

_BARE = """
    SELECT service_id, notification_type, status, count(*),
        count(*) FILTER (WHERE sent_at - created_at <= interval '10 seconds')
    FROM notify_notification WHERE created_at >= %s AND created_at < %s
    GROUP BY service_id, notification_type, status
"""


class Day:
    """The day that is counted, three days ago, and its two neighbours."""

    def __init__(self, services: int) -> None:
        from django.utils import timezone

        from notify.clock import local_date, local_day

        self.benches = [Bench() for _ in range(services)]
        self.day = local_date(timezone.now()) - timedelta(days=3)
        self.start, self.end = local_day(self.day)
        self.made = 0

    def fill(self, rows: int) -> None:
        """Bring each of the three days up to this many messages."""
        from django.db import connection

        missing = (rows - self.made) // len(self.benches)
        for bench in self.benches:
            for ahead in (-1, 0, 1):
                bench.fill(missing, self.start + timedelta(days=ahead, hours=9))
        self.made = rows
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE notify_notification")

    def bare(self) -> float:
        """Count without storing."""
        from django.db import connection

        with connection.cursor() as cursor:
            taken = seconds(lambda: (cursor.execute(_BARE, [self.start, self.end]), cursor.fetchall()))
        return taken

    def store(self) -> float:
        """Count and store a day that was not stored yet."""
        from notify.models import DailyTotal

        DailyTotal.objects.all().delete()
        return self.again()

    def again(self) -> float:
        """Count and store the day."""
        from notify import totals
        from notify.models import DailyTotal

        taken = seconds(lambda: totals.store_day(self.day, judged_on=self.day))
        counted = sum(sum(total.counts.values()) for total in DailyTotal.objects.all())
        if counted != self.made:
            raise SystemExit(f"{counted:,} of {self.made:,} messages were counted.")
        return taken


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--services", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table: list[list[Any]] = []
    with database():
        day = Day(options.services)
        for rows in options.sizes:
            day.fill(rows)
            day.store()
            ways = {"bare": day.bare, "store": day.store, "again": day.again}
            taken = {name: median(values) for name, values in interleaved(ways, options.rounds).items()}
            for name, label in (("bare", "bare GROUP BY (the limit)"), ("store", "counted and stored"),
                                ("again", "counted and replaced")):  # fmt: skip
                ratio = f"{taken['bare'] / taken[name]:.2f}"
                table.append([label, f"{rows:,}", f"{taken[name]:.4f}", f"{rows / taken[name]:,.0f}", ratio])
    title = f"A day's totals, {options.services} services, medians of {options.rounds} interleaved rounds"
    show(title, ["what", "rows", "seconds", "rows/s", "of GROUP BY"], table)


if __name__ == "__main__":
    main()
