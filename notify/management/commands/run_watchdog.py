"""`manage.py run_watchdog NAME`: what a periodic task would find and do; with --apply it does it."""

from datetime import datetime
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from notify import schedule
from notify.celery import app
from notify.clock import zone
from notify.models import Alert


class Command(BaseCommand):
    """Run a watchdog and roll it back, or say what a loop has to do; --apply keeps the one and enqueues the other."""

    help = "Show what a watchdog would find and repair, and change nothing; with --apply do it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the task's name."""
        parser.add_argument("name", metavar="NAME", help="a task of the schedule, such as jobs.check_job_status")
        parser.add_argument("--apply", action="store_true", help="do it, instead of only showing it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it."""
        rows = {row.task: row for row in schedule.ROWS}
        row = rows.get(options["name"])
        if row is None:
            raise CommandError(f"No watchdog {options['name']!r}. Known: {', '.join(rows)}.", returncode=2)
        app.autodiscover_tasks(force=True)
        if row.kind == schedule.LOOP:
            self._loop(row, apply=options["apply"])
        else:
            self._watchdog(row, apply=options["apply"])

    def _watchdog(self, row: schedule.Row, *, apply: bool) -> None:
        """The whole run is one transaction that is rolled back: an honest dry run of everything it would write."""
        now = timezone.now()
        with transaction.atomic():
            counts = app.tasks[row.task].run() or {}
            self._report(row.task, counts, now, apply=apply)
            if not apply:
                transaction.set_rollback(True)

    def _report(self, task: str, counts: dict[str, int], now: datetime, *, apply: bool) -> None:
        self.stdout.write(f"{task} {'did' if apply else 'would do'} this:")
        for name, count in counts.items():
            self.stdout.write(f"  {name}: {count:,}")
        for alert in Alert.objects.filter(last_seen_at__gte=now).order_by("kind", "scope"):
            self.stdout.write(f"  alert {alert.kind}, {alert.scope}: {alert.message}")
        for alert in Alert.objects.filter(resolved_at__gte=now).order_by("kind", "scope"):
            self.stdout.write(f"  alert {alert.kind}, {alert.scope}: resolved")
        for call in [entry[1] for entry in connection.run_on_commit]:
            if isinstance(call, partial):
                name = getattr(getattr(call.func, "__self__", None), "name", "a wake-up")
                self.stdout.write(f"  then {name} {' '.join(map(str, call.args))}".rstrip())
        if not apply:
            self.stdout.write("Nothing was changed. Add --apply to do it.")

    def _loop(self, row: schedule.Row, *, apply: bool) -> None:
        due = import_string(row.due)(now=timezone.now())
        since = f", the oldest since {due.oldest.astimezone(zone()):%d %b %Y, %H:%M %Z}" if due.oldest else ""
        self.stdout.write(f"{row.task}: {due.count:,} due{since}")
        for key in due.keys:
            self.stdout.write(f"  {key}")
        if not apply:
            self.stdout.write("A loop calls out or touches files, so it was not run. Add --apply to enqueue it.")
        elif app.tasks[row.task].apply_async() is None:
            self.stdout.write("The wake-up was not sent (no broker); the next tick finds the work.")
        else:
            self.stdout.write("Enqueued.")
