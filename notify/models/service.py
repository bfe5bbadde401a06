"""Services, their templates, and how long their messages are kept."""

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone


class NotificationType(models.TextChoices):
    """The three channels."""

    SMS = "sms", "SMS"
    EMAIL = "email", "email"
    LETTER = "letter", "letter"


class Service(models.Model):
    """Somebody who sends. Inactive: jobs stop and waiting messages wait."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    active = models.BooleanField(default=True)
    owners = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="services")
    contact_email = models.EmailField(blank=True, help_text="Where the service itself is told.")
    sms_sender = models.CharField(max_length=11, blank=True, help_text="Shown as the sender; empty: the default.")
    email_from_name = models.CharField(max_length=100, blank=True)
    email_reply_to = models.EmailField(blank=True)
    letter_contact_block = models.TextField(blank=True)
    international_sms = models.BooleanField(default=False, help_text="May send abroad.")
    sms_daily_limit = models.PositiveIntegerField(default=250_000, help_text="Messages per local day.")
    email_daily_limit = models.PositiveIntegerField(default=250_000, help_text="Messages per local day.")
    letter_daily_limit = models.PositiveIntegerField(default=20_000, help_text="Letters per local day.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def daily_limit(self, notification_type: str) -> int:
        """Messages of this type it may send per local day."""
        return getattr(self, f"{notification_type}_daily_limit")


class Template(models.Model):
    """What a message says. Saving other words makes a new version; messages keep the version they were made with."""

    class Postage(models.TextChoices):
        """How a letter travels."""

        FIRST = "first", "first class"
        SECOND = "second", "second class"
        ECONOMY = "economy", "economy"
        EUROPE = "europe", "Europe"
        REST_OF_WORLD = "rest-of-world", "rest of world"

    WORDS = ("subject", "content", "postage")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="templates")
    name = models.CharField(max_length=200)
    notification_type = models.CharField(max_length=10, choices=NotificationType)
    subject = models.CharField(max_length=500, blank=True, help_text="Email and letters only.")
    content = models.TextField(help_text="((name)) is replaced; ((urgent??text)) is shown when the value is yes.")
    postage = models.CharField(max_length=20, choices=Postage, blank=True, help_text="Letters only.")
    version = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(notification_type__in=NotificationType.values), name="template_type_known"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, **kwargs: object) -> None:
        """Save; when the words changed, as the next version, kept in TemplateVersion."""
        with transaction.atomic():
            words = {name: getattr(self, name) for name in self.WORDS}
            stored = Template.objects.select_for_update().filter(pk=self.pk).values("version", *self.WORDS).first()
            changed = stored is None or any(stored[name] != words[name] for name in self.WORDS)
            self.version = (stored["version"] if stored else max(self.version - 1, 0)) + (1 if changed else 0)
            super().save(**kwargs)
            if changed:
                TemplateVersion.objects.create(template=self, version=self.version, **words)


class TemplateVersion(models.Model):
    """The words of one version, the newest included: what was sent can always be read again."""

    template = models.ForeignKey(Template, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    subject = models.CharField(max_length=500, blank=True)
    content = models.TextField()
    postage = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["template", "-version"]
        constraints = [models.UniqueConstraint(fields=["template", "version"], name="template_version_once")]

    def __str__(self) -> str:
        return f"{self.template_id} version {self.version}"


class DataRetention(models.Model):
    """How long a service's messages of one type are kept; no row means 7 days."""

    service = models.ForeignKey(Service, on_delete=models.CASCADE)
    notification_type = models.CharField(max_length=10, choices=NotificationType)
    days = models.PositiveSmallIntegerField(default=7, validators=[MinValueValidator(3), MaxValueValidator(90)])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["service", "notification_type"], name="data_retention_once"),
            models.CheckConstraint(condition=Q(days__gte=3, days__lte=90), name="data_retention_days"),
        ]

    def __str__(self) -> str:
        return f"{self.notification_type}: {self.days} days"
