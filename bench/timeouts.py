"""Messages without a final status get one, with their callbacks, as the nightly watchdog does it.

Beside it, in the same run on the same rows, the limit: one bare UPDATE and a COPY of ready-made callbacks.

    python -m bench.timeouts [--sizes 1000 10000 100000] [--rounds 3]
"""

import argparse
import io
from datetime import UTC, datetime
from typing import Any

from bench.measure import database, interleaved, median, seconds, show
from bench.waiting import analyze, empty, make_waiting

_OLD = """
    UPDATE notify_notification SET status = 'sending', status_reason = '', due_at = NULL, updated_at = NULL,
        sent_at = created_at, created_at = now() - interval '73 hours'
"""
_BARE = """
    UPDATE notify_notification SET status = 'temporary-failure', status_reason = 'x', updated_at = now()
    WHERE status = 'sending' AND notification_type IN ('sms', 'email') AND created_at < now() - interval '72 hours'
"""


class Bench:
    """One size: the rows, and the callbacks that the first run made, kept as ready-made lines."""

    def __init__(self, rows: int) -> None:
        from notify.models import Notification
        from notify.testing import make_endpoint

        empty()
        make_waiting(rows)
        make_endpoint(Notification.objects.first().service)
        self.rows = rows
        self.timed_out()
        self.lines = self.callbacks()

    def put_back(self) -> None:
        """Make every message too old again, without its callback; outside the time taken."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE callbacks_callback")
            cursor.execute(_OLD)
        analyze()

    def timed_out(self) -> float:
        """The watchdog's own verb."""
        from callbacks.models import Callback
        from providers import watchdogs

        self.put_back()
        taken = seconds(lambda: watchdogs.timeout_notifications(now=datetime.now(UTC), limit=self.rows + 1))
        told = Callback.objects.count()
        if told != self.rows:
            raise SystemExit(f"{told} of {self.rows} services would have been told")
        return taken

    def bare(self) -> float:
        """One UPDATE, and a COPY of the same callbacks."""
        from django.db import connection

        self.put_back()

        def run() -> None:
            with connection.cursor() as cursor:
                cursor.execute(_BARE)
                cursor.copy_expert("COPY callbacks_callback FROM STDIN", io.StringIO(self.lines))

        return seconds(run)

    def callbacks(self) -> str:
        """Return the callbacks as COPY reads them."""
        from django.db import connection

        out = io.StringIO()
        with connection.cursor() as cursor:
            cursor.copy_expert("COPY callbacks_callback TO STDOUT", out)
        return out.getvalue()


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table: list[list[Any]] = []
    with database():
        for rows in options.sizes:
            bench = Bench(rows)
            ways = {"UPDATE and COPY alone (the limit)": bench.bare, "time-outs with their callbacks": bench.timed_out}
            taken = {name: median(values) for name, values in interleaved(ways, options.rounds).items()}
            limit = taken["UPDATE and COPY alone (the limit)"]
            for name, value in taken.items():
                table.append([name, f"{rows:,}", f"{value:.2f}", f"{rows / value:,.0f}", f"{limit / value:.2f}"])
    columns = ["what", "rows", "seconds", "rows/s", "of the limit"]
    show(f"Time-outs, medians of {options.rounds} interleaved rounds", columns, table)


if __name__ == "__main__":
    main()
