"""The shell around jobs: reads the clock, calls the verb, enqueues what it returned."""

import logging
from uuid import UUID

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from jobs import processing, watchdogs
from providers.tasks import send_due_notifications

logger = logging.getLogger(__name__)


@shared_task(name="jobs.process_job")
def process_job(job_id: str) -> dict[str, int]:
    """Claim a pending job and write its notifications; a second copy finds nothing to claim."""
    job = processing.claim_job(UUID(job_id), now=timezone.now())
    if job is None:
        return {"processed": 0}
    try:
        finished = processing.process_rows(job, clock=timezone.now)
    except Exception as error:
        processing.fail_job(job.pk, f"{type(error).__name__}: {error}", now=timezone.now())
        raise
    finally:
        send_due_notifications.nudge()
    return {"processed": int(finished)}


@shared_task(name="jobs.run_scheduled_jobs")
def run_scheduled_jobs() -> dict[str, int]:
    """Start the scheduled jobs that are due and nudge every pending one."""
    with transaction.atomic():
        started, pending = watchdogs.run_scheduled_jobs(now=timezone.now())
        for pk in pending:
            process_job.delay_on_commit(str(pk))
    return {"found": started}
