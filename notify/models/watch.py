"""What the watchdogs saw and did, the day's totals, and what was last seeded into the schedule."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from notify.fields import new_id
from notify.models.service import NotificationType, Service
from notify.querysets import AlertQuerySet


class Alert(models.Model):
    """Something a person should look at. One is open per (kind, scope)."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=60)
    scope = models.CharField(max_length=200)
    message = models.TextField()
    times_seen = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    snoozed_until = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    # Who was told, by each channel; written by notify/telling.py only. Due: not before; empty is at once.
    email_told_at = models.DateTimeField(null=True, blank=True)
    email_due_at = models.DateTimeField(null=True, blank=True)
    email_claimed_at = models.DateTimeField(null=True, blank=True)
    email_attempts = models.PositiveIntegerField(default=0)
    email_lapses = models.PositiveIntegerField(default=0, help_text="Tries a crash cut off.")
    email_error = models.CharField(max_length=200, blank=True)
    webhook_told_at = models.DateTimeField(null=True, blank=True)
    webhook_due_at = models.DateTimeField(null=True, blank=True)
    webhook_claimed_at = models.DateTimeField(null=True, blank=True)
    webhook_attempts = models.PositiveIntegerField(default=0)
    webhook_lapses = models.PositiveIntegerField(default=0, help_text="Tries a crash cut off.")
    webhook_error = models.CharField(max_length=200, blank=True)
    untold_logged_at = models.DateTimeField(null=True, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen_at"]
        # No index for notify.send_alerts on purpose: the open ones are few, and the constraint's index holds just them.
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "scope"], condition=Q(resolved_at__isnull=True), name="alert_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.scope}"


class SeededSchedule(models.Model):
    """What was last seeded into django-celery-beat: tells an operator's edit from an old default."""

    task = models.CharField(max_length=200, unique=True)
    crontab = models.CharField(max_length=200)
    seeded_at = models.DateTimeField(default=timezone.now)
    expire_seconds = models.PositiveIntegerField(null=True)
    timezone = models.CharField(max_length=64)  # last: the name hides the module below it

    def __str__(self) -> str:
        return f"{self.task}: {self.crontab}"


class WatchdogRun(models.Model):
    """One run of a periodic duty."""

    task = models.CharField(max_length=200)
    due_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True)
    found = models.PositiveIntegerField(default=0)
    repaired = models.PositiveIntegerField(default=0)
    alerted = models.PositiveIntegerField(default=0)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [models.UniqueConstraint(fields=["task", "due_at"], name="watchdog_run_once")]

    def __str__(self) -> str:
        return f"{self.task} at {self.started_at:%Y-%m-%d %H:%M}"


class DailyTotal(models.Model):
    """A local day's messages of one service and channel, counted by outcome."""

    day = models.DateField()
    service = models.ForeignKey(Service, on_delete=models.CASCADE)
    notification_type = models.CharField(max_length=10, choices=NotificationType)
    counts = models.JSONField(default=dict, help_text="Status: number of messages.")
    sent_within_ten_seconds = models.PositiveIntegerField(default=0)
    thinned = models.BooleanField(default=False, help_text="Retention deleted messages of it: never counted again.")
    pushed_at = models.DateTimeField(null=True, blank=True, help_text="When it was reported as it stands.")

    class Meta:
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["day", "service", "notification_type"], name="daily_total_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.notification_type}"
