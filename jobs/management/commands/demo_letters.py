"""`manage.py demo_letters`: a council's file becomes PDFs, a print run and zips for the postal provider."""

import logging
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils import timezone
from rich.console import Console

from jobs import demo, demo_letters
from jobs.creation import JobRefused
from jobs.recipients_file import FileProblem
from letters.models import PrintRun
from letters.print_run import Busy, Paused
from notify.embedded import EmbeddedPostgresError

PROBLEMS = (demo.DemoRefused, FileProblem, JobRefused, EmbeddedPostgresError, DatabaseError, OSError)


class Command(BaseCommand):
    """Exit status: 0 every row is accounted for, 1 not, 3 cannot run here."""

    help = "Make letters of a sample file, print them and zip them, in this process; needs no worker."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Go through all of it, and say what was made and where it lies."""
        self.console = Console(emoji=False)
        logging.disable(logging.INFO)  # what the loops say of themselves is not for here
        try:
            holds = self._run()
        except Paused:
            raise CommandError("All sending is paused. Resume it in the admin, “Pauses”.", returncode=3) from None
        except Busy:
            raise CommandError("Another process collates letters at this moment. Wait for it.", returncode=3) from None
        except PROBLEMS as problem:
            raise CommandError(" ".join(str(problem).split()), returncode=3) from problem
        if not holds:
            raise SystemExit(1)

    def _run(self) -> bool:
        if settings.PRODUCTION:
            raise demo.DemoRefused("The demo does not run where NOTIFY_ENVIRONMENT is live or production.")
        call_command("migrate", verbosity=0, interactive=False)
        job = demo_letters.upload(clock=timezone.now)
        self._say(f"Uploaded {demo_letters.SAMPLE.name}: {job.notification_count:,} rows.")
        for row, code in demo.refused_rows(job):
            self._say(f"  row {row:,} cannot be sent: {code}")
        pages = demo_letters.render(job, clock=timezone.now)
        self._say(f"PDFs made: {pages:,} pages, in {settings.VAR_DIR / 'letters-pdf'}.")
        printed = demo_letters.print_letters(job, clock=timezone.now)
        run = PrintRun.objects.get(day=printed.day)
        self._say(f"Print run of {printed.day} (not waited for; letters made from now on go with a later one):")
        self._say(f"  {run.letter_count:,} letters on {run.sheet_count:,} sheets")
        for one in printed.zips:
            self._say(f"  {settings.VAR_DIR / 'postal' / one.name}  {one.letter_count:,} letters, {one.size:,} bytes")
        findings = demo_letters.judge(printed, now=timezone.now())
        for finding in findings:
            self._say(f"{'  ok    ' if finding.holds else '  WRONG '}{finding.text}")
        self._say("See them in the admin of make demo: “Letters” and “Print runs”.")
        return all(finding.holds for finding in findings)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
