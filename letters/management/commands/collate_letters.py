"""`manage.py collate_letters --day 2026-11-24`: the day's print run by hand; the same code as the periodic task."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters import print_run
from letters.models import PrintRun
from notify.clock import newest_print_day, zone

FIRST_YEAR = 2016  # nothing was sent before
EXAMPLE = "manage.py collate_letters --day 2026-11-24"


class Command(BaseCommand):
    """Run one local day's print run to its end; a day that is finished stays as it is."""

    help = "Hand the letters of one local day's print run to the postal provider. A finished day is left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the day, which has no default: nobody collates a day by accident."""
        parser.add_argument("--day", required=True, metavar="DAY", help="local day, such as 2026-11-24")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check the day, then run it."""
        now = timezone.now()
        day = self._day(options["day"], newest_print_day(now))
        finished = PrintRun.objects.filter(day=day, finished_at__isnull=False).first()
        if finished is not None:
            at = finished.finished_at.astimezone(zone())
            self.stdout.write(
                f"The print run of {day} was finished {at:%d %b %Y, %H:%M %Z}; letters: {finished.letter_count:,}. "
                "Nothing was done; letters made since go with a later day's run."
            )
            return
        counts = self._collate(day)
        if counts["letters"]:
            deliver_due_callbacks.nudge()
        self.stdout.write(f"Letters handed over: {counts['letters']:,}, in zips: {counts['zips']:,}.")
        if counts["unfinished"]:
            raise CommandError(f"Not finished within its time. Go on with {EXAMPLE[:-10]}{day}.", returncode=1)

    def _collate(self, day: date) -> dict[str, int]:
        try:
            return print_run.collate(clock=timezone.now, day=day)
        except print_run.Busy:
            raise CommandError("Another process collates letters at this moment. Wait for it.", returncode=3) from None
        except print_run.Paused:
            raise CommandError("All sending is paused. Resume it in the admin, “Pauses”.", returncode=3) from None
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped; what was handed over stays so. Go on with {EXAMPLE[:-10]}{day}.", returncode=1
            ) from None
        except Exception as error:
            raise CommandError(
                f"Stopped ({type(error).__name__}); what was handed over stays so, and an alert says more. The "
                f"periodic task goes on with it, or: {EXAMPLE[:-10]}{day}",
                returncode=1,
            ) from error

    def _day(self, text: str, newest: date) -> date:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            day = None
        if day is None or text != day.isoformat():
            raise CommandError(f"--day {text[:40]!r} is no date. Write it so: {EXAMPLE}", returncode=2)
        if day > newest:
            raise CommandError(
                f"--day {day} is not due yet: the newest day whose letters may be collated is {newest}.", returncode=2
            )
        if day.year < FIRST_YEAR:
            raise CommandError(f"--day {day} is before {FIRST_YEAR}: nothing was sent then.", returncode=2)
        return day
