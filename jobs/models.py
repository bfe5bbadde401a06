"""A file of rows that becomes notifications."""

import uuid

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from jobs.querysets import JobQuerySet
from notify.models import Service, Template


def job_storage() -> Storage:
    """Return where job files lie (the storage alias `jobs`)."""
    return storages["jobs"]


def stored_name(job: "Job", file_name: str) -> str:
    """Return the name a file is stored under: the job's key, never what the sender called it."""
    return f"{job.service_id}/{job.pk}.csv"


class Job(models.Model):
    """One uploaded file.

    progressed_at moves with every chunk of rows and every change of status: touching it is the lease of whoever
    works on the job.
    """

    class Status(models.TextChoices):
        """Where a job stands; `finished` means that all rows were handled, the last one that they were counted."""

        SCHEDULED = "scheduled"
        PENDING = "pending"
        IN_PROGRESS = "in progress"
        FINISHED = "finished"
        COMPLETE = "finished all notifications created"
        LIMITS_EXCEEDED = "sending limits exceeded"
        ERROR = "error"
        CANCELLED = "cancelled"

    FINAL = frozenset({Status.COMPLETE, Status.LIMITS_EXCEEDED, Status.CANCELLED})
    UNFINISHED = (Status.PENDING, Status.IN_PROGRESS, Status.ERROR)
    MOVES = {
        Status.SCHEDULED: {Status.PENDING, Status.CANCELLED},
        Status.PENDING: {Status.IN_PROGRESS, Status.ERROR, Status.CANCELLED},
        Status.IN_PROGRESS: {Status.FINISHED, Status.LIMITS_EXCEEDED, Status.ERROR, Status.CANCELLED},
        Status.ERROR: {Status.ERROR, Status.IN_PROGRESS, Status.CANCELLED},
        Status.FINISHED: {Status.COMPLETE, Status.CANCELLED},
        Status.COMPLETE: {Status.CANCELLED},
        Status.LIMITS_EXCEEDED: set(),
        Status.CANCELLED: set(),
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="jobs")
    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="jobs")
    template_version = models.PositiveIntegerField(editable=False)
    original_file_name = models.CharField(max_length=255)
    file = models.FileField(storage=job_storage, upload_to=stored_name, max_length=255)
    encoding = models.CharField(max_length=20, default="utf-8-sig", editable=False)
    delimiter = models.CharField(max_length=1, default=",", editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    notification_count = models.PositiveIntegerField(help_text="Rows in the file, invalid ones included.")
    status = models.CharField(max_length=40, choices=Status, default=Status.PENDING)
    status_reason = models.CharField(max_length=300, blank=True)
    scheduled_for = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    processing_started = models.DateTimeField(null=True, blank=True)
    progressed_at = models.DateTimeField(default=timezone.now)
    processing_finished = models.DateTimeField(null=True, blank=True)
    recoveries = models.PositiveSmallIntegerField(default=0)
    removal_failures = models.PositiveSmallIntegerField(default=0, editable=False)
    archived = models.BooleanField(default=False, help_text="Its file is deleted; it is never processed again.")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "scheduled", "pending", "in progress", "finished", "finished all notifications created",
                        "sending limits exceeded", "error", "cancelled",
                    ]
                ),
                name="job_status_known",
            ),
        ]  # fmt: skip
        indexes = [
            # jobs.run_scheduled_jobs
            models.Index(fields=["scheduled_for"], name="job_scheduled_due", condition=Q(status="scheduled")),
            models.Index(fields=["created_at"], name="job_pending", condition=Q(status="pending", archived=False)),
            # jobs.check_job_status
            models.Index(
                fields=["progressed_at"],
                name="job_stalled",
                condition=Q(status__in=["pending", "in progress", "error"], archived=False),
            ),
            # jobs.check_for_missing_rows_in_completed_jobs, jobs.mark_jobs_complete
            models.Index(
                fields=["processing_finished"],
                name="job_finished_uncounted",
                condition=Q(status="finished", archived=False),
            ),
            # jobs.remove_csv_files
            models.Index(Coalesce("scheduled_for", "created_at"), name="job_archivable", condition=Q(archived=False)),
            # notify.delete_notifications_older_than_retention: the messages of these stay
            models.Index(fields=["service", "id"], name="job_unarchived", condition=Q(archived=False)),
            models.Index(fields=["created_at"], name="job_newest"),
            models.Index(fields=["service", "sha256"], name="job_same_file"),
        ]

    def __str__(self) -> str:
        return self.original_file_name
