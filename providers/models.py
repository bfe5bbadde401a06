"""Who carries messages, how the load is shared, and what they report back."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from notify.crypto import Unreadable
from notify.fields import EncryptedJSONField, new_id
from notify.models import Notification, NotificationType
from providers.querysets import PauseQuerySet, ProviderQuerySet, ReceiptQuerySet

PERCENT = [MinValueValidator(0), MaxValueValidator(100)]


class Provider(models.Model):
    """One company that carries messages of one channel. `config` holds its address and credentials, encrypted."""

    class UnknownOutcome(models.TextChoices):
        """What to do when nobody knows whether a message was taken."""

        RESEND_ONCE = "resend_once", "wait for a receipt, then send once more"
        HOLD = "hold", "hold it for a person"

    class Backend(models.TextChoices):
        """The provider classes that are shipped."""

        MMG = "providers.backends.mmg.MMG", "MMG (SMS)"
        FIRETEXT = "providers.backends.firetext.Firetext", "Firetext (SMS)"
        EMAIL = "providers.backends.email.Email", "email"
        POSTAL = "providers.backends.postal.Postal", "postal (receipts of the print run)"

    identifier = models.SlugField(max_length=50, unique=True, help_text="Named in receipts' address and on messages.")
    display_name = models.CharField(max_length=100)
    notification_type = models.CharField(max_length=10, choices=NotificationType)
    backend = models.CharField(max_length=200, choices=Backend)
    config = EncryptedJSONField(default=dict, blank=True, editable=False)
    active = models.BooleanField(default=True)
    share = models.PositiveSmallIntegerField(default=50, validators=PERCENT, help_text="Part of the load, 0 to 100.")
    resting_share = models.PositiveSmallIntegerField(default=50, validators=PERCENT)
    held_until = models.DateTimeField(null=True, blank=True)
    hold_reason = models.CharField(max_length=300, blank=True)
    unknown_outcome = models.CharField(max_length=20, choices=UnknownOutcome, default=UnknownOutcome.RESEND_ONCE)
    receipts = models.BooleanField(default=True, help_text="Whether it reports what became of a message.")
    updated_at = models.DateTimeField(default=timezone.now)
    rate_limit = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(10_000)],
        help_text="Requests per second it allows, over all workers; empty: as fast as it answers.",
    )
    paced_until = models.DateTimeField(null=True, blank=True, editable=False)  # providers/pacing.py

    objects = ProviderQuerySet.as_manager()

    class Meta:
        ordering = ["notification_type", "identifier"]
        constraints = [
            models.CheckConstraint(
                condition=Q(share__lte=100, resting_share__lte=100), name="provider_shares_are_percentages"
            )
        ]

    def __str__(self) -> str:
        return self.display_name or self.identifier

    def opened_config(self) -> dict[str, Any] | None:
        """Return the configuration; None where it is damaged or no key of ENCRYPTION_KEYS opens it."""
        try:
            return self.config
        except Unreadable:
            return None

    def is_held(self, now: datetime) -> bool:
        """Say whether a person's change keeps every automatic rule away from its share."""
        return self.held_until is not None and self.held_until > now


class ProviderChange(models.Model):
    """One change of share or of `active`, by hand or by rule."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="changes")
    share_before = models.PositiveSmallIntegerField()
    share_after = models.PositiveSmallIntegerField()
    reason = models.CharField(max_length=300)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, help_text="Empty: a rule."
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["provider", "-created_at"], name="provider_change_newest")]

    def __str__(self) -> str:
        return f"{self.share_before} → {self.share_after}: {self.reason}"


class SwitchPolicy(models.Model):
    """When a provider counts as slow, and how traffic moves away. Without a row these defaults hold."""

    notification_type = models.CharField(max_length=10, choices=NotificationType, unique=True)
    window = models.DurationField(default=timedelta(minutes=10), help_text="Messages sent this recently are looked at.")
    slow_after = models.DurationField(
        default=timedelta(minutes=4), help_text="A message that takes this long or longer is slow."
    )
    threshold = models.FloatField(default=0.2, help_text="Slow ÷ all from which a provider is slow, above 0 up to 1.")
    step = models.PositiveSmallIntegerField(
        default=100, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text="Points moved at a time."
    )
    settle_for = models.DurationField(
        default=timedelta(minutes=10), help_text="Nothing moves this long after a change."
    )
    minimum_sample = models.PositiveIntegerField(
        default=10, validators=[MinValueValidator(1)], help_text="Fewer messages than this decide nothing."
    )

    class Meta:
        verbose_name_plural = "switch policies"
        constraints = [
            models.CheckConstraint(condition=Q(threshold__gt=0, threshold__lte=1), name="switch_policy_threshold"),
            models.CheckConstraint(condition=Q(window__gte=F("slow_after")), name="switch_policy_window"),
            models.CheckConstraint(condition=Q(step__gte=1, step__lte=100), name="switch_policy_step"),
        ]

    def __str__(self) -> str:
        return f"{self.notification_type}: slow from {self.threshold:.0%}"


class Pause(models.Model):
    """The switch that stops all sending, from `paused_at` to `ended_at`; at most one is on."""

    paused_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = PauseQuerySet.as_manager()

    class Meta:
        ordering = ["-paused_at"]
        constraints = [
            # A constant, so that two open pauses meet.
            models.UniqueConstraint(Value(1), condition=Q(ended_at__isnull=True), name="pause_on_once")
        ]

    def __str__(self) -> str:
        return f"{self.paused_at:%Y-%m-%d %H:%M}: {self.reason}"


class Receipt(models.Model):
    """What a provider reported, stored before it is understood.

    reported is the status it claims; the status of a message follows from the set of these, whatever their order.
    due_at: not applied before; a receipt that comes before its message is parked by moving it ahead.
    """

    OF_NO_MESSAGE = Q(notification_id__isnull=True) | Q(outcome="no-such-message")  # the second names one we lack

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="receipt_set")
    dedupe_key = models.CharField(max_length=64, help_text="sha256 of the body.")
    body = models.BinaryField(editable=False)
    content_type = models.CharField(max_length=100, blank=True)
    received_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now)
    applied_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=40, blank=True)
    notification_id = models.UUIDField(null=True, blank=True)
    provider_reference = models.CharField(
        max_length=200, blank=True, db_default="", help_text="The provider's own id, where it does not repeat ours."
    )
    reported = models.CharField(max_length=20, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    code = models.CharField(max_length=40, blank=True)
    occurred_at = models.DateTimeField(null=True, blank=True, help_text="The provider's time.")
    times_received = models.PositiveIntegerField(default=1)

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["provider", "dedupe_key"], name="receipt_once")]
        indexes = [
            # providers.apply_receipts
            models.Index(fields=["due_at"], name="receipt_due", condition=Q(applied_at__isnull=True)),
            models.Index(
                fields=["notification_id"], name="receipt_of_notification", condition=Q(notification_id__isnull=False)
            ),
            # providers.apply_receipts (whether an alert may close) and replay_receipts
            models.Index(
                fields=["provider", "code"], name="receipt_with_unknown_code", condition=Q(outcome="unknown-code")
            ),
            # the admin's list by outcome, and the arrays that replay_receipts reads anew
            models.Index(
                fields=["outcome", "id"],
                name="receipt_in_vain",
                condition=Q(~Q(outcome="applied"), applied_at__isnull=False),
            ),
            # the admin's list by what was reported; of the usual report the newest are found without
            models.Index(
                fields=["reported", "id"], name="receipt_reported", condition=~Q(reported__in=["", "delivered"])
            ),
            # notify.delete_notifications_older_than_retention
            models.Index(
                fields=["received_at"],
                name="receipt_of_no_message",
                condition=Q(Q(notification_id__isnull=True) | Q(outcome="no-such-message"), applied_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class HeldNotification(Notification):
    """A message of which nobody knows whether a provider took it, as a person sees it who decides about it."""

    class Meta:
        proxy = True
        verbose_name = "held message"
        default_permissions = ("view", "change")
