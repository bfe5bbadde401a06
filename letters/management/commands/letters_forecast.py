"""`manage.py letters_forecast`: how many letters go with the next print run, and which do not and why."""

from contextlib import suppress
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from letters.forecast import Forecast, Part, forecast
from notify.clock import zone


class Command(BaseCommand):
    """Say what the next print run will take, as things stand."""

    help = "Say how many letters go with the next print run, and which do not and why. Changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it, oldest reason first as in letters/forecast.py."""
        now = timezone.now()
        seen = forecast(now=now)
        with suppress(BrokenPipeError):
            for line in describe(seen, passed=now >= seen.deadline):
                self.stdout.write(line)


def describe(seen: Forecast, *, passed: bool) -> list[str]:
    """Write a forecast in lines, times local."""
    deadline = seen.deadline.astimezone(zone())
    lines = [
        f"Print run of {_day(seen.day)}, deadline {deadline:%H:%M %Z}"
        + (" (passed; the run is not finished)" if passed else ""),
        f"  {seen.goes:,} {'goes' if seen.goes == 1 else 'go'} as things stand",
    ]
    if seen.packed:
        lines += [f"  {seen.packed.count:,} before all others: {seen.packed.words}", *_keys(seen.packed)]
    if seen.paused:
        lines.append("  but all sending is paused: no letter goes before that ends")
    for part in seen.stays:
        since = part.oldest.astimezone(zone()).strftime("%d %b %Y, %H:%M %Z")
        lines.append(f"  {part.count:,} {'does' if part.count == 1 else 'do'} not: {part.words} (oldest {since})")
        lines += _keys(part)
    return _behind(seen) + lines


def _behind(seen: Forecast) -> list[str]:
    """Say which earlier runs are not finished, and what they take."""
    if not seen.unfinished:
        return []
    days, one = " and ".join(map(_day, seen.unfinished)), len(seen.unfinished) == 1
    runs, takes = ("run", "is unfinished; letters it takes") if one else ("runs", "are unfinished; letters they take")
    count = seen.overdue.count if seen.overdue else 0
    return [f"The print {runs} of {days} {takes} first: {count:,}", *(_keys(seen.overdue) if seen.overdue else [])]


def _keys(part: Part) -> list[str]:
    more = part.count - len(part.keys)
    return [f"    {key}" for key in part.keys] + [f"    … and {more:,} more"] * bool(more)


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B %Y}"
