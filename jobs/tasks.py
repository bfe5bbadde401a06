"""The shell around jobs: reads the clock, calls the verb, enqueues what it returned."""

import logging
from uuid import UUID

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from jobs import files, processing, recovery, watchdogs
from letters.tasks import render_letter_pdfs
from notify.models import NotificationType
from providers.tasks import send_due_notifications

logger = logging.getLogger(__name__)


def _wake_loops(kind: str = "") -> None:
    """Wake what takes new messages of one type on, or of any: rendering for letters, sending for the others."""
    if kind != NotificationType.LETTER:
        send_due_notifications.nudge()
    if kind in ("", NotificationType.LETTER):
        render_letter_pdfs.nudge()


@shared_task(name="jobs.process_job")
def process_job(job_id: str) -> dict[str, int]:
    """Claim a pending job and write its notifications; a second copy finds nothing to claim."""
    job = processing.claim_job(UUID(str(job_id)), now=timezone.now())
    if job is None:
        return {"processed": 0}
    try:
        finished = processing.process_rows(job, clock=timezone.now)
    except Exception as error:
        processing.fail_job(job.pk, error, now=timezone.now())
        raise
    finally:
        _wake_loops(job.template.notification_type)
    return {"processed": int(finished)}


@shared_task(name="jobs.run_scheduled_jobs")
def run_scheduled_jobs() -> dict[str, int]:
    """Start the scheduled jobs that are due and nudge every pending one."""
    with transaction.atomic():
        started, pending = watchdogs.run_scheduled_jobs(now=timezone.now())
        for pk in pending:
            process_job.delay_on_commit(str(pk))
        if started >= watchdogs.SCHEDULED_PER_RUN:
            run_scheduled_jobs.delay_on_commit()
    return {"found": started}


@shared_task(name="jobs.check_job_status")
def check_job_status() -> dict[str, int]:
    """Set stalled jobs to error and have them processed again."""
    with transaction.atomic():
        stalled = watchdogs.check_job_status(now=timezone.now())
        if stalled:
            process_incomplete_jobs.delay_on_commit([str(pk) for pk in stalled])
    return {"found": len(stalled)}


@shared_task(name="jobs.process_incomplete_jobs")
def process_incomplete_jobs(job_ids: list[str]) -> dict[str, int]:
    """Process exactly the missing rows of jobs that were set to error."""
    try:
        return recovery.process_incomplete_jobs([UUID(str(pk)) for pk in job_ids], clock=timezone.now)
    finally:
        _wake_loops()


@shared_task(name="jobs.check_for_missing_rows_in_completed_jobs")
def check_for_missing_rows_in_completed_jobs() -> dict[str, int]:
    """Have the missing rows of finished jobs processed."""
    with transaction.atomic():
        short = watchdogs.check_for_missing_rows(now=timezone.now())
        for pk in short:
            process_missing_rows.delay_on_commit(str(pk))
    return {"found": len(short)}


@shared_task(name="jobs.process_missing_rows")
def process_missing_rows(job_id: str) -> dict[str, int]:
    """Process the rows of one finished job that have no notification."""
    made = recovery.process_missing_rows(UUID(str(job_id)), clock=timezone.now)
    _wake_loops()
    return {"repaired": made}


@shared_task(name="jobs.mark_jobs_complete")
def mark_jobs_complete() -> dict[str, int]:
    """Move finished jobs whose notifications are all there to their final status."""
    with transaction.atomic():
        return {"repaired": watchdogs.mark_jobs_complete(now=timezone.now())}


@shared_task(name="jobs.remove_csv_files")
def remove_csv_files() -> dict[str, int]:
    """Delete the files of jobs past retention and mark the jobs archived."""
    return files.remove_csv_files(now=timezone.now())
