"""An uploaded file becomes a job: read and judged whole, then stored with its row, or refused with nothing stored."""

import hashlib
import logging
import os
import uuid
from datetime import datetime
from typing import Any, BinaryIO

from django.conf import settings
from django.core.files import File
from django.db import IntegrityError, transaction

from jobs.models import Job, job_storage, stored_name
from jobs.processing import left_today
from jobs.recipients_file import FileProblem, RecipientsFile, read_recipients
from notify import content, file_names
from notify.models import Service, Template

logger = logging.getLogger(__name__)


class JobRefused(Exception):
    """The job cannot be made; `code` is stable, the text is for the sender."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_file(stream: BinaryIO, template: Template, *, encoding: str | None = None) -> RecipientsFile:
    """Read and judge a file for a template; raises FileProblem with line and column where it is refused whole."""
    return read_recipients(
        stream,
        placeholders=content.placeholders(template.subject, template.content),
        notification_type=template.notification_type,
        encoding=encoding,
        max_rows=settings.JOB_ROWS_LIMIT,
        max_bytes=settings.JOB_FILE_BYTES_LIMIT,
    )


def judge_file(
    stream: BinaryIO,
    *,
    service: Service,
    template: Template,
    scheduled_for: datetime | None,
    encoding: str | None,
    now: datetime,
) -> RecipientsFile:
    """Return the file where a job may be made of it; raises FileProblem or JobRefused. A file refused is logged."""
    refuse_unfit(service, template, scheduled_for, now=now)
    try:
        found = read_file(stream, template, encoding=encoding)
    except FileProblem as problem:
        _log_refusal(stream, problem)
        raise
    refuse_over_limit(template, found.row_count, scheduled_for=scheduled_for, now=now)
    return found


def create_job(
    stream: BinaryIO,
    *,
    service: Service,
    template: Template,
    file_name: str,
    now: datetime,
    scheduled_for: datetime | None = None,
    encoding: str | None = None,
    job_id: uuid.UUID | None = None,
    created_by: Any = None,
) -> Job:
    """Make a job of a file. The caller nudges `jobs.process_job` after commit.

    job_id: made by whoever shows the form, so that submitting it twice makes one job (the second call returns it).
    scheduled_for: aware UTC, not past and at most JOB_SCHEDULED_AHEAD_LIMIT ahead.
    Raises FileProblem or JobRefused with nothing stored.
    """
    key = job_id or uuid.uuid4()
    made = Job.objects.filter(pk=key).first()
    if made is not None:
        return made
    asked = {"service": service, "template": template, "scheduled_for": scheduled_for}
    found = judge_file(stream, **asked, encoding=encoding, now=now)
    job = Job(
        pk=key,
        **asked,
        template_version=template.version,
        original_file_name=shown_name(file_name),
        encoding=found.encoding,
        delimiter=found.delimiter,
        sha256=sha256_of(stream),
        notification_count=found.row_count,
        status=Job.Status.SCHEDULED if scheduled_for else Job.Status.PENDING,
        created_at=now,
        progressed_at=now,
        created_by=created_by,
    )
    return _store(job, stream)


def shown_name(file_name: str) -> str:
    """Return a sender's file name as it is shown: last part only, no control characters; never used as a path."""
    return file_names.shown_name(file_name, "recipients.csv")


def refuse_unfit(service: Service, template: Template, scheduled_for: datetime | None, *, now: datetime) -> None:
    """Raise JobRefused where no job may be made of any file: another service's template, switched off, a bad time."""
    if template.service_id != service.pk:
        raise JobRefused("TEMPLATE_OF_OTHER_SERVICE", f"The template {template} belongs to another service.")
    if not template.content:  # such as the one that precompiled letters have: their words are in their PDFs
        raise JobRefused("TEMPLATE_EMPTY", f"The template {template} has no words to send. Choose another one.")
    if not service.active:
        raise JobRefused("SERVICE_INACTIVE", f"{service} is switched off; switch it on before sending.")
    if scheduled_for is None:
        return
    if scheduled_for < now:
        raise JobRefused("SCHEDULE_PAST", "The time is in the past. Choose a later one, or leave it empty to send now.")
    if scheduled_for - now > settings.JOB_SCHEDULED_AHEAD_LIMIT:
        days = settings.JOB_SCHEDULED_AHEAD_LIMIT.days
        raise JobRefused("SCHEDULE_TOO_FAR", f"Choose a time within the next {days} days.")


def refuse_over_limit(template: Template, rows: int, *, scheduled_for: datetime | None, now: datetime) -> None:
    """Raise JobRefused where a job that is sent at once would pass the day's limit; a scheduled one is judged then."""
    left = left_today(template.service, template.notification_type, now=now)
    if scheduled_for is None and rows > left:
        raise JobRefused(
            "DAILY_LIMIT",
            f"The file has {rows:,} rows, but {template.service} may send only {max(left, 0):,} more today. "
            "Send fewer rows, schedule the job for tomorrow, or ask an operator for a higher limit.",
        )


def _store(job: Job, stream: BinaryIO) -> Job:
    """Store file and row; of two submissions at once one wins and the other returns its job."""
    stream.seek(0)
    name = job_storage().save(stored_name(job, ""), File(stream))
    job.file.name = name
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError:
        job_storage().delete(name)
        return Job.objects.get(pk=job.pk)
    except BaseException:
        job_storage().delete(name)
        raise
    return job


def sha256_of(stream: BinaryIO) -> str:
    """Return the hash by which the same file is recognised."""
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _log_refusal(stream: BinaryIO, problem: FileProblem) -> None:
    """The file stays with its sender; size and hash tell which it was (its name may hold personal data)."""
    size = stream.seek(0, os.SEEK_END)
    logger.info(
        "Refused a file: %s, %s bytes, sha256 %s",
        problem.code,
        size,
        sha256_of(stream),
        extra={"code": problem.code, "count": size},
    )
