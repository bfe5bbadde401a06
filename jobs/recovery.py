"""Putting jobs back on their normal path: the rows that are missing are processed, by the code that made the others."""

import logging
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from jobs import processing
from jobs.models import Job
from jobs.processing import Clock
from notify.alerts import close_alert

logger = logging.getLogger(__name__)
RESUMED = "resumed by a person; waits for a worker"
ASKED = "its missing rows were asked for by a person"


def resume_jobs(keys: Sequence[UUID], *, now: datetime) -> list[Job]:
    """Set all of these that are in error to in progress with a fresh start, before any of them is processed.

    So a worker that dies on the first leaves the others to be found. Counts a recovery for each.
    Returns the jobs to process; a second caller gets none of them.
    """
    with transaction.atomic():
        mine = Job.objects.filter(pk__in=keys, status=Job.Status.ERROR, archived=False).order_by("pk").claim(len(keys))
        moved = Job.objects.filter(pk__in=mine)
        # `progressed_at` is the lease; processing_started stays NULL where the daily limit was never judged.
        moved.move_to(Job.Status.IN_PROGRESS, now=now, progressed_at=now, recoveries=F("recoveries") + 1)
    jobs = Job.objects.filter(pk__in=mine).select_related("service", "template")
    return list(jobs.order_by("created_at"))


def resume_job(job: Job, *, clock: Clock) -> bool:
    """Process the missing rows of a resumed job; the daily limit is judged only where it never was."""
    now = clock()
    if not processing.may_run(job, now=now, check_limit=job.processing_started is None):
        return False
    Job.objects.filter(pk=job.pk, status=Job.Status.IN_PROGRESS).update(processing_started=now)
    return processing.process_rows(job, clock=clock)


def process_incomplete_jobs(keys: Sequence[UUID], *, clock: Clock) -> dict[str, int]:
    """Resume every job of these; one job's failure does not stop the next."""
    jobs = resume_jobs(keys, now=clock())
    finished = 0
    for job in jobs:
        try:
            finished += resume_job(job, clock=clock)
        except Exception as error:
            logger.exception("Job %s could not be resumed", job.pk, extra={"job_id": str(job.pk)})
            processing.fail_job(job.pk, error, now=clock())
    return {"found": len(jobs), "repaired": finished}


def allow_again(key: UUID, *, now: datetime) -> bool:
    """Give a job in error all its tries back and close its alert, because a person has mended the cause.

    The caller enqueues `process_incomplete_jobs` after commit; should that be lost, the job counts as stalled after
    JOB_STALLED_AFTER and is found again. Returns False for a job that is archived, not in error, or was given its
    tries back less than JOB_MISSING_ROWS_AFTER ago and has not failed since: a second click has no effect.
    """
    mine = Job.objects.filter(pk=key, status=Job.Status.ERROR, archived=False)
    waits = Q(recoveries=0, progressed_at__gt=now - settings.JOB_MISSING_ROWS_AFTER, status_reason=RESUMED)
    if not mine.exclude(waits).update(recoveries=0, progressed_at=now, status_reason=RESUMED):
        return False
    close_alert("job-stalled", f"job {key}", now=now)
    return True


def ask_for_missing_rows(key: UUID, *, now: datetime) -> bool:
    """Note that a person asks for the missing rows of a finished job. Returns False where nothing can be done.

    That is: a job not finished, archived, of an inactive service or without missing rows, or asked for already less
    than JOB_MISSING_ROWS_AFTER ago. The caller enqueues `process_missing_rows` after commit.
    """
    mine = Job.objects.finished_uncounted().filter(pk=key, service__active=True)
    short = mine.counted().filter(made__lt=F("notification_count"))
    waits = Q(progressed_at__gt=now - settings.JOB_MISSING_ROWS_AFTER, status_reason=ASKED)
    return bool(
        Job.objects.filter(pk__in=short.values("pk"), status=Job.Status.FINISHED)
        .exclude(waits)
        .update(progressed_at=now, status_reason=ASKED)
    )


def process_missing_rows(key: UUID, *, clock: Clock) -> int:
    """Process the rows of a finished job that have no notification, at any age. Returns how many were made.

    Refuses (returns 0) a job that is not `finished`, is archived, or whose service is switched off; what cannot be
    read is written down as the job's reason, and the alert of the watchdog names it.
    """
    job = Job.objects.finished_uncounted().filter(pk=key).select_related("service", "template").first()
    if job is None or not job.service.active:
        return 0
    before = job.notifications.count()
    try:
        if processing.process_rows(job, clock=clock, status=Job.Status.FINISHED):
            close_alert("job-incomplete", f"job {key}", now=clock())
    except Exception as error:
        reason = processing.reason_of(error)
        Job.objects.filter(pk=key, status=Job.Status.FINISHED).update(status_reason=reason)
        raise
    # Answered: the job's page must not say that it still waits, and a person may ask again.
    Job.objects.filter(pk=key, status_reason=ASKED).update(status_reason="")
    return job.notifications.count() - before
