"""Where a service wants to be told, and each thing it is told."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from callbacks.querysets import CallbackQuerySet
from notify.fields import EncryptedJSONField, new_id
from notify.models import Service


class Endpoint(models.Model):
    """A service's address for callbacks. At most one is active per service."""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="endpoints")
    url = models.URLField(max_length=2048)
    bearer_token = EncryptedJSONField(default=str, editable=False)
    signing_secrets = EncryptedJSONField(default=list, editable=False)
    active = models.BooleanField(default=True)
    failing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["service"], condition=Q(active=True), name="endpoint_active_once")
        ]

    def __str__(self) -> str:
        return f"{self.service}: {self.url}"


class Callback(models.Model):
    """One change of status told to one endpoint; stands on its own, whatever becomes of the message.

    payload: body, address and token as they were when the status changed, encrypted. due_at is moved ahead as a
    lease while somebody delivers; claimed_at and attempts are the claim token.
    """

    class Status(models.TextChoices):
        """Where a callback stands."""

        PENDING = "pending"
        DELIVERED = "delivered"
        EXHAUSTED = "exhausted"

    FINAL = frozenset({Status.DELIVERED, Status.EXHAUSTED})
    MOVES = {
        Status.PENDING: {Status.PENDING, Status.DELIVERED, Status.EXHAUSTED},
        Status.EXHAUSTED: {Status.PENDING},
        Status.DELIVERED: set(),
    }

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="callbacks", db_index=False)
    notification_id = models.UUIDField()
    notification_status = models.CharField(max_length=20)
    payload = models.BinaryField(editable=False)
    status = models.CharField(max_length=20, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(default=timezone.now)
    last_status_code = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True, blank=True)

    objects = CallbackQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "delivered", "exhausted"]), name="callback_status_known"
            ),
            # Once per change: a message may become the same final status again, at another moment.
            models.UniqueConstraint(
                fields=["notification_id", "notification_status", "created_at"], name="callback_once_per_change"
            ),
        ]
        indexes = [
            # callbacks.deliver_due_callbacks, fair between endpoints
            models.Index(fields=["endpoint", "due_at"], name="callback_due", condition=Q(status="pending")),
            # whether the alert callback-exhausted may close
            models.Index(fields=["endpoint"], name="callback_given_up", condition=Q(status="exhausted")),
            # notify.delete_notifications_older_than_retention
            models.Index(
                Coalesce("delivered_at", "due_at"),
                name="callback_ended",
                condition=Q(status__in=["delivered", "exhausted"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.notification_status} of {self.notification_id}"
