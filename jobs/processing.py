"""A job's way from pending to finished: claimed once, checked once, its rows written in chunks that can be repeated."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists

from jobs import recipients_file
from jobs.models import Job
from jobs.rows import RowWriter
from letters.creation import create_letters
from notify.models import Notification, NotificationType, Service

logger = logging.getLogger(__name__)
Clock = Callable[[], datetime]  # gives the moment (aware, UTC); a long run asks it for every chunk


def claim_job(pk: UUID, *, now: datetime) -> Job | None:
    """Claim a pending job: in progress, or cancelled or over its limit, in one transaction.

    Returns the job to process, None when somebody else has it or it may not run. The daily limit is decided here,
    once: a job that is resumed does not come through here.
    """
    with transaction.atomic():
        if not Job.objects.pending().filter(pk=pk).select_for_update(skip_locked=True).exists():
            return None
        mine = Job.objects.filter(pk=pk, status=Job.Status.PENDING)
        if not mine.move_to(Job.Status.IN_PROGRESS, now=now, processing_started=now, progressed_at=now):
            return None
        job = Job.objects.select_related("service", "template").get(pk=pk)
        return job if may_run(job, now=now, check_limit=True) else None


def may_run(job: Job, *, now: datetime, check_limit: bool) -> bool:
    """Say whether a claimed job may go on; one that may not is moved to its final status with the reason."""
    mine = Job.objects.filter(pk=job.pk)
    if not job.service.active:
        mine.move_to(Job.Status.CANCELLED, now=now, progressed_at=now, status_reason="The service is switched off.")
        return False
    if check_limit:
        left = left_today(job.service, job.template.notification_type, now=now)
        missing = job.notification_count - job.notifications.count()
        if missing > left:
            reason = f"{missing:,} rows, but only {max(left, 0):,} more may be sent today."
            mine.move_to(Job.Status.LIMITS_EXCEEDED, now=now, progressed_at=now, status_reason=reason)
            return False
    return True


def left_today(service: Service, notification_type: str, *, now: datetime) -> int:
    """Return how many more messages of this type the service may make before local midnight (below 0: over)."""
    made = Notification.objects.counted_today(now, service=service, notification_type=notification_type)
    return service.daily_limit(notification_type) - made.count()


def process_rows(job: Job, *, clock: Clock, status: str = Job.Status.IN_PROGRESS) -> bool:
    """Write every row that has no notification yet, chunk by chunk, then count. Returns whether the end was reached.

    status: `in progress`, or `finished` where a finished job's missing rows are made good.
    Each chunk is one transaction that begins by touching the job where it still has that status and its service is
    active; when that moves nothing (cancelled, switched off, or judged stalled) it stops. Rows that exist are asked
    for first, and a unique constraint holds whatever two workers do at once.
    """
    existing = set(job.notifications.values_list("job_row_number", flat=True))
    if len(existing) < job.notification_count:
        with job.file.open("rb") as stream:
            stored = recipients_file.open_recipients(
                stream, encoding=job.encoding, delimiter=job.delimiter, notification_type=job.template.notification_type
            )
            rows = (row for row in stored.rows() if row.number not in existing)
            if not _write_chunks(job, rows, clock=clock, status=status):
                if status == Job.Status.IN_PROGRESS:
                    job.service.refresh_from_db()
                    may_run(job, now=clock(), check_limit=False)  # a service switched off meanwhile: cancelled
                return False
    now = clock()
    if status == Job.Status.FINISHED:
        return complete_if_counted(job.pk, now=now)
    done = Job.objects.filter(pk=job.pk).move_to(
        Job.Status.FINISHED, now=now, processing_finished=now, progressed_at=now, status_reason=""
    )
    if done:
        complete_if_counted(job.pk, now=now)
    return bool(done)


def complete_if_counted(pk: UUID, *, now: datetime) -> bool:
    """Move a finished job whose rows all have their notification to its final status."""
    counted = Job.objects.filter(pk=pk).annotate(made=Count("notifications")).values_list("made", "notification_count")
    made, wanted = counted.get()
    if made != wanted:
        return False
    return bool(Job.objects.filter(pk=pk).move_to(Job.Status.COMPLETE, now=now, progressed_at=now))


def fail_job(pk: UUID, error: Exception, *, now: datetime) -> None:
    """Set a job whose processing raised to error, with the reason, for the watchdog to try again."""
    mine = Job.objects.filter(pk=pk)
    mine.move_to(Job.Status.ERROR, now=now, progressed_at=now, status_reason=reason_of(error))


def reason_of(error: Exception) -> str:
    """Say why processing failed, without the words of a database error: those may quote a row."""
    if isinstance(error, recipients_file.FileProblem):
        return f"its file cannot be read: {error}"[:300]
    if isinstance(error, FileNotFoundError):
        return "its file is gone from the storage"
    return f"processing raised {type(error).__name__}"


def _write_chunks(job: Job, rows: Iterator, *, clock: Clock, status: str) -> bool:
    """Build the next chunk in a second thread while this one is written (both release the GIL in their C parts)."""
    writer = RowWriter.of(job)

    def build() -> tuple[list[str], list[UUID]]:
        return writer.lines(islice(rows, settings.JOB_CHUNK_ROWS), now=clock())

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows") as builder:
        upcoming = builder.submit(build)
        while True:
            lines, born_final = upcoming.result()
            if not lines:
                return True
            upcoming = builder.submit(build)
            if not _write_chunk(job, writer, lines, born_final, now=clock(), status=status):
                return False


def _write_chunk(
    job: Job, writer: RowWriter, lines: list[str], born_final: list[UUID], *, now: datetime, status: str
) -> bool:
    with transaction.atomic():
        # EXISTS, not a join: the status must be judged again on the row that a cancelling neighbour just let go of.
        active = Exists(Service.objects.filter(pk=job.service_id, active=True))
        if not Job.objects.filter(active, pk=job.pk, status=status, archived=False).update(progressed_at=now):
            return False
        writer.write(lines, born_final, now=now)
        if job.template.notification_type == NotificationType.LETTER:
            create_letters(job.pk, now=now)
    return True
