"""`manage.py sync_schedule`: bring the stored schedule up to the defaults; edits are kept."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notify import schedule


class Command(BaseCommand):
    """Seed what is missing and report what was edited."""

    help = "Bring the stored schedule up to the defaults. What an operator edited is kept and shown."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name of a task to reset."""
        parser.add_argument("--reset", metavar="NAME", help="put this task back to its default")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sync, and say what was done."""
        name, known = options["reset"], [row.task for row in schedule.ROWS]
        if name and name not in known:
            raise CommandError(f"No default schedule for {name}. Known: {', '.join(known)}", returncode=2)
        for task, what in schedule.sync_schedule(reset=name).items():
            self.stdout.write(f"{task}: {what or 'as the default'}")
