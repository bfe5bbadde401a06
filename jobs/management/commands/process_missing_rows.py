"""`manage.py process_missing_rows JOB`: make the notifications that a finished job is short of, at any age."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from jobs import recovery
from jobs.models import Job
from jobs.processing import reason_of
from jobs.querysets import missing_row_numbers
from jobs.tasks import send_due_notifications
from jobs.watchdogs import describe_rows


class Command(BaseCommand):
    """Process exactly the rows that have no notification."""

    help = "Make the notifications that a finished job is short of; rows that have one are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the job."""
        parser.add_argument("job", metavar="JOB", help="the job's id")
        parser.add_argument("--dry-run", action="store_true", help="only say which rows are missing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what is missing, and make it good."""
        job = self._job(options["job"])
        missing = missing_row_numbers(job.pk, job.notification_count)
        if not missing:
            self.stdout.write(f"Job {job.pk} has all its {job.notification_count:,} notifications.")
            return
        self.stdout.write(f"Job {job.pk}: {describe_rows(missing)} have no message.")
        if options["dry_run"]:
            return
        try:
            made = recovery.process_missing_rows(job.pk, clock=timezone.now)
        except Exception as error:
            raise CommandError(f"Nothing more was made: {reason_of(error)}.", returncode=3) from error
        self.stdout.write(f"{made:,} made.")
        send_due_notifications.nudge()

    def _job(self, text: str) -> Job:
        try:
            key = uuid.UUID(text)
        except ValueError:
            example = "018f3c1e-0000-7000-8000-000000000000"
            raise CommandError(f"{text[:40]!r} is no job id; one looks like {example}.", returncode=2) from None
        job = Job.objects.select_related("service").filter(pk=key).first()
        if job is None:
            raise CommandError(f"There is no job {key}.", returncode=2)
        if job.archived:
            raise CommandError(f"Job {key} is archived: its file is gone and it is never processed.", returncode=3)
        complete = job.status == Job.Status.COMPLETE and not missing_row_numbers(job.pk, job.notification_count)
        if job.status != Job.Status.FINISHED and not complete:
            raise CommandError(
                f"Job {key} is “{job.status}”; only a job that is “finished” and was not counted complete has missing "
                "rows. Use “Resume” in the admin for one in error.",
                returncode=3,
            )
        if not (complete or job.service.active):
            raise CommandError(f"{job.service} is switched off; switch it on first.", returncode=3)
        return job
