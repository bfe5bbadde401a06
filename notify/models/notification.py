"""One message to one recipient: its states, the moves between them, and the indexes the loops stand on."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from notify.fields import SealedField, new_id
from notify.models.service import NotificationType, Service, Template
from notify.querysets import NotificationQuerySet


class Notification(models.Model):
    """One message to one recipient.

    due_at: not sent before; NULL: held, or never to be sent by a loop. claimed_at and attempts are the claim token:
    due with claimed_at set means that somebody began and nobody knows what became of it.
    """

    class Status(models.TextChoices):
        """Where a message stands."""

        CREATED = "created"
        SENDING = "sending"
        PENDING = "pending"
        SENT = "sent"
        DELIVERED = "delivered"
        PERMANENT_FAILURE = "permanent-failure"
        TEMPORARY_FAILURE = "temporary-failure"
        TECHNICAL_FAILURE = "technical-failure"
        VALIDATION_FAILED = "validation-failed"
        PENDING_VIRUS_CHECK = "pending-virus-check"
        VIRUS_SCAN_FAILED = "virus-scan-failed"
        CANCELLED = "cancelled"
        RETURNED_LETTER = "returned-letter"

    FINAL = frozenset(Status) - {Status.CREATED, Status.SENDING, Status.PENDING, Status.PENDING_VIRUS_CHECK}
    _REPORTED = {
        Status.PENDING, Status.DELIVERED, Status.PERMANENT_FAILURE, Status.TEMPORARY_FAILURE, Status.TECHNICAL_FAILURE
    }  # fmt: skip
    # Late and repeated receipts are moves like others; which of them is made is the rank rule's (providers/ranks.py).
    MOVES = {
        Status.CREATED: _REPORTED
        | {Status.CREATED, Status.SENDING, Status.SENT, Status.CANCELLED, Status.VALIDATION_FAILED},
        Status.SENDING: _REPORTED | {Status.SENDING, Status.SENT, Status.RETURNED_LETTER},
        Status.PENDING: _REPORTED | {Status.SENT},  # a report that was faster than our own write of a message abroad
        Status.SENT: _REPORTED | {Status.RETURNED_LETTER},
        Status.DELIVERED: {Status.DELIVERED, Status.PERMANENT_FAILURE, Status.RETURNED_LETTER},
        Status.PERMANENT_FAILURE: {Status.PERMANENT_FAILURE, Status.TEMPORARY_FAILURE, Status.DELIVERED},
        Status.TEMPORARY_FAILURE: {Status.TEMPORARY_FAILURE, Status.PERMANENT_FAILURE, Status.DELIVERED},
        Status.TECHNICAL_FAILURE: {
            Status.TECHNICAL_FAILURE, Status.TEMPORARY_FAILURE, Status.PERMANENT_FAILURE, Status.DELIVERED,
            Status.RETURNED_LETTER,
        },
        Status.PENDING_VIRUS_CHECK: {
            Status.CREATED, Status.VIRUS_SCAN_FAILED, Status.VALIDATION_FAILED, Status.TECHNICAL_FAILURE,
            Status.CANCELLED,
        },
        Status.RETURNED_LETTER: {Status.RETURNED_LETTER},
        Status.VALIDATION_FAILED: set(),
        Status.VIRUS_SCAN_FAILED: set(),
        Status.CANCELLED: set(),
    }  # fmt: skip
    SENT_BY_LOOP = (NotificationType.SMS, NotificationType.EMAIL)  # letters leave by the print run

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, db_index=False)
    template = models.ForeignKey(Template, on_delete=models.PROTECT, db_index=False)
    template_version = models.PositiveIntegerField()
    # The one key that points up, by name: the rule “a row is never added twice” is a unique constraint here.
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.PROTECT, null=True, blank=True, related_name="notifications", db_index=False
    )
    job_row_number = models.PositiveIntegerField(null=True, blank=True, help_text="Zero-based.")
    notification_type = models.CharField(max_length=10, choices=NotificationType)
    recipient = SealedField(default=str)
    recipient_hash = models.CharField(max_length=32, blank=True, editable=False)
    personalisation = SealedField(json=True, default=dict)
    client_reference = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.CREATED)
    status_reason = models.CharField(max_length=300, blank=True)
    provider_name = models.CharField(max_length=50, blank=True)
    provider_reference = models.CharField(max_length=200, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    unknown_outcomes = models.PositiveSmallIntegerField(default=0, help_text="Requests whose outcome is not known.")
    first_attempt_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="The provider's time.")
    updated_at = models.DateTimeField(null=True, blank=True)

    objects = NotificationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["job", "job_row_number"], name="job_row_once"),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "created", "sending", "pending", "sent", "delivered", "permanent-failure", "temporary-failure",
                        "technical-failure", "validation-failed", "pending-virus-check", "virus-scan-failed",
                        "cancelled", "returned-letter",
                    ]
                ),
                name="notification_status_known",
            ),
            models.CheckConstraint(
                condition=Q(notification_type__in=NotificationType.values), name="notification_type_known"
            ),
            models.CheckConstraint(
                condition=Q(job__isnull=True, job_row_number__isnull=True)
                | Q(job__isnull=False, job_row_number__isnull=False),
                name="notification_row_of_job",
            ),
        ]  # fmt: skip
        indexes = [
            # providers.send_due_notifications, fair between services. No index on due_at alone: with it the planner
            # reads the whole backlog.
            models.Index(fields=["service", "due_at"], name="notification_due", condition=Q(status="created")),
            # providers.replay_created_notifications and timeout_notifications, letters.check_templated_letter_state
            models.Index(
                fields=["notification_type", "created_at"], name="notification_created", condition=Q(status="created")
            ),
            # letters.raise_alert_if_letter_notifications_still_sending
            models.Index(
                fields=["sent_at"],
                name="notification_letter_sent",
                condition=Q(notification_type="letter", status="sending"),
            ),
            # providers.timeout_notifications
            models.Index(
                fields=["created_at"], name="notification_timed_out", condition=Q(status__in=["sending", "pending"])
            ),
            # providers.switch_current_sms_provider_on_slow_delivery, health and backtest; costs nothing before sending
            models.Index(
                fields=["notification_type", "sent_at"],
                name="notification_sent",
                condition=Q(notification_type__in=["sms", "email"], sent_at__isnull=False),
            ),
            # daily limits, retention, totals
            models.Index(fields=["service", "created_at"], name="notification_of_service"),
            # receipts and searching
            models.Index(
                fields=["provider_reference"], name="notification_provider_ref", condition=~Q(provider_reference="")
            ),
            models.Index(
                fields=["client_reference"], name="notification_client_ref", condition=~Q(client_reference="")
            ),
            models.Index(fields=["recipient_hash"], name="notification_recipient"),
            # letters.scan_letters and check_precompiled_letter_state
            models.Index(
                fields=["created_at"], name="notification_unscanned", condition=Q(status="pending-virus-check")
            ),
            # providers/unknown.py: held for a person
            models.Index(
                fields=["provider_name"],
                name="notification_held_for_person",
                condition=Q(status="created", due_at__isnull=True, unknown_outcomes__gt=0),
            ),
            # providers/unknown.py: leases that ran out
            models.Index(
                fields=["due_at"],
                name="notification_lapsed",
                condition=Q(status="created", claimed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
