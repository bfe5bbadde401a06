"""A job's stored file, until retention ends: then it is deleted and the job archived, never to be processed again."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from jobs.models import Job
from notify.alerts import close_alert, raise_alert
from notify.clock import local_date, local_midnight
from notify.loops import KEYS_SHOWN, Due, refuse_transaction
from notify.models import DataRetention

logger = logging.getLogger(__name__)
KIND = "job-file-not-removed"


def remove_csv_files(*, now: datetime) -> dict[str, int]:
    """Delete what retention no longer keeps, one job at a time, and mark each job archived.

    N days of retention keep N whole local days plus today: files from before local midnight of today − N days go.
    The file goes first, then the mark: cut off between the two, the next run finds nothing to delete and marks.
    A storage error stops only its job; it is tried again at the next run and alerted after three.
    """
    refuse_transaction()
    removed = failed = 0
    for job in past_retention(now=now):
        try:
            if job.file:
                job.file.storage.delete(job.file.name)
        except Exception as error:  # noqa: BLE001  (each storage has errors of its own; one must not stop the others)
            failed += 1
            _note_failure(job, error, now=now)
            continue
        removed += Job.objects.archivable(now).filter(pk=job.pk).update(archived=True)
        close_alert(KIND, f"job {job.pk}", now=now)
    return {"found": removed + failed, "repaired": removed}


def past_retention(*, now: datetime) -> list[Job]:
    """Return the jobs whose file goes, oldest first."""
    kept = {(row.service_id, row.notification_type): row.days for row in DataRetention.objects.all()}
    found: list[Job] = []
    shortest = min([*kept.values(), settings.RETENTION_DAYS])
    candidates = Job.objects.archivable(now).filter(aged_from__lt=_cut_off(shortest, now)).select_related("template")
    for job in candidates.iterator(chunk_size=1_000):
        days = kept.get((job.service_id, job.template.notification_type), settings.RETENTION_DAYS)
        if job.aged_from < _cut_off(days, now):
            found.append(job)
    return found


def _cut_off(days: int, now: datetime) -> datetime:
    """Return local midnight of today − N days."""
    return local_midnight(local_date(now) - timedelta(days=days))


def _note_failure(job: Job, error: Exception, *, now: datetime) -> None:
    logger.warning("The file of job %s was not deleted", job.pk, exc_info=error, extra={"job_id": str(job.pk)})
    Job.objects.filter(pk=job.pk).update(removal_failures=F("removal_failures") + 1)
    if job.removal_failures + 1 >= settings.JOB_RECOVERIES_LIMIT:
        raise_alert(
            KIND,
            f"job {job.pk}",
            f"The file of job {job.pk} could not be deleted {job.removal_failures + 1} times "
            f"({type(error).__name__}); it is tried again every night. Check the storage of job files. "
            f"See README, {KIND}.",
            now=now,
        )


def due(*, now: datetime) -> Due:
    """Say which jobs' files would be deleted now."""
    jobs = past_retention(now=now)
    return Due(len(jobs), jobs[0].aged_from if jobs else None, [str(job.pk) for job in jobs[:KEYS_SHOWN]])
