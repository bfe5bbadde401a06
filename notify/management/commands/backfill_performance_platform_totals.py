"""`manage.py backfill_performance_platform_totals START END`: count past days again, as the nightly run does."""

import socket
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone
from rich.console import Console
from rich.progress import track

from notify import totals
from notify.clock import local_date
from notify.models import DailyTotal

LOCK = 731_204_518  # of backfills; any number nobody else uses
SPAN = 31  # days; more asks for --yes-large
FIRST_YEAR = 2016  # nothing was sent before
Stored = dict[tuple[str, str], tuple[dict[str, int], int]]


class Command(BaseCommand):
    """Rebuild the totals of each day, except those retention may have touched, and say what changed."""

    help = "Count the days START to END (both included) again; totals retention may have touched stay as stored."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the first and the last day."""
        parser.add_argument("start", metavar="START", help="first local day, such as 2026-11-01")
        parser.add_argument("end", metavar="END", help="last local day, included")
        parser.add_argument("--yes-large", action="store_true", help=f"allow more than {SPAN} days")
        parser.add_argument("--dry-run", action="store_true", help="only check the arguments")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check everything first; then one day after another, each committed by itself."""
        today = local_date(timezone.now())
        days = self._days(options["start"], options["end"], today, large=options["yes_large"])
        if options["dry_run"]:
            self.stdout.write(f"{len(days)} days would be counted again. Nothing was changed.")
            return
        self._lock()
        lines: list[str] = []
        day = days[0]
        try:
            for day in track(days, "Counting", console=Console(stderr=True), transient=True):
                lines += self._day(day, today)
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped at {day}; the days before it are stored. Go on with {self._name()} {day} {days[-1]}.",
                returncode=1,
            ) from None
        finally:
            _query("SELECT pg_advisory_unlock(%s)", LOCK)
            with suppress(BrokenPipeError):
                self.stdout.write("\n".join(lines or ["No message and no total on these days."]))

    def _day(self, day: date, today: date) -> list[str]:
        kept = {_name(total) for total in totals.kept(day, today=today)}
        before = _stored(day)
        totals.store_day(day, judged_on=today)
        after = _stored(day)
        return [
            f"{day} {' '.join(key)}: kept as stored, retention may have deleted messages"
            if key in kept
            else f"{day} {' '.join(key)}: {self.describe(before.get(key), after[key])}"
            for key in sorted(after)
        ]

    def describe(self, before: tuple[dict[str, int], int] | None, after: tuple[dict[str, int], int]) -> str:
        """Say how one total changed."""
        return change(_counts(before), _counts(after))

    def _days(self, first: str, last: str, today: date, *, large: bool) -> list[date]:
        start, end = self._day_of(first, "START", today), self._day_of(last, "END", today)
        if start > end:
            raise CommandError(f"START {start} is after END {end}. Swap them.", returncode=2)
        span = (end - start).days + 1
        if span > SPAN and not large:
            raise CommandError(f"{start} to {end} is {span:,} days, more than {SPAN}. Add --yes-large.", returncode=2)
        return [start + timedelta(days=ahead) for ahead in range(span)]

    def _day_of(self, text: str, name: str, today: date) -> date:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = None
        if day is None or text != day.isoformat():
            example = f"manage.py {self._name()} 2026-11-01 2026-11-07"
            raise CommandError(f"{name} {text[:40]!r} is no date. Write it so: {example}", returncode=2)
        if day >= today:
            raise CommandError(f"{name} {day} is not over yet: the last day is before {today}.", returncode=2)
        if day.year < FIRST_YEAR:
            raise CommandError(f"{name} {day} is before {FIRST_YEAR}: nothing was sent then.", returncode=2)
        return day

    def _lock(self) -> None:
        if not _query("SELECT pg_try_advisory_lock(%s)", LOCK)[0]:
            found = _query(
                "SELECT coalesce(a.client_addr::text, %s), a.backend_start FROM pg_locks l "
                "JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted",
                socket.gethostname(),
                LOCK,
            )
            where = f" on host {found[0]} since {found[1]:%Y-%m-%d %H:%M} UTC" if found else ""
            raise CommandError(f"A backfill is already running{where}. Wait for it to end.", returncode=3)

    def _name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def _query(sql: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def _name(total: DailyTotal) -> tuple[str, str]:
    return total.service.name, total.notification_type


def _stored(day: date) -> Stored:
    rows = DailyTotal.objects.filter(day=day).select_related("service")
    return {_name(total): (total.counts, total.sent_within_ten_seconds) for total in rows}


def _counts(stored: tuple[dict[str, int], int] | None) -> str:
    counts = stored[0] if stored else {}
    return ", ".join(f"{status} {number:,}" for status, number in sorted(counts.items())) or "nothing"


def change(before: str, after: str) -> str:
    return f"unchanged, {after}" if before == after else f"{before} → {after}"
