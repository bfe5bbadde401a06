"""`manage.py letters_forecast`: how many letters go with the next print run, and which do not and why."""

from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from letters.forecast import Forecast, forecast
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
    lines = [f"Print run of {seen.day:%A} {seen.day.day} {seen.day:%B %Y}, deadline {deadline:%H:%M %Z}"]
    lines[0] += " (passed; the run is not finished)" if passed else ""
    lines.append(f"  {seen.goes:,} {'goes' if seen.goes == 1 else 'go'} as things stand")
    if seen.overdue:
        day = f"{seen.overdue_day:%A} {seen.overdue_day.day} {seen.overdue_day:%B %Y}"
        lines.insert(0, f"The print run of {day} is unfinished; letters it takes first: {seen.overdue.count:,}")
        more = seen.overdue.count - len(seen.overdue.keys)
        lines[1:1] = [f"    {key}" for key in seen.overdue.keys] + [f"    … and {more:,} more"] * bool(more)
    if seen.paused:
        lines.append("  but all sending is paused: no letter goes before that ends")
    for part in seen.stays:
        since = part.oldest.astimezone(zone()).strftime("%d %b %Y, %H:%M %Z")
        lines.append(f"  {part.count:,} {'does' if part.count == 1 else 'do'} not: {part.words} (oldest {since})")
        lines += [f"    {key}" for key in part.keys]
        if part.count > len(part.keys):
            lines.append(f"    … and {part.count - len(part.keys):,} more")
    return lines
