"""Notifications that are printed: the letter's file, and the daily run that takes letters to the postal provider."""

from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q
from django.utils import timezone

from notify.models import Notification, Template


def pdf_storage() -> Storage:
    """Return where letters' PDFs lie (the storage alias `letters-pdf`)."""
    return storages["letters-pdf"]


class PrintRun(models.Model):
    """One day's collation; `day` is unique, so a day is collated once."""

    day = models.DateField(unique=True)
    deadline = models.DateTimeField(help_text="Letters created before this are taken.")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    letter_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-day"]

    def __str__(self) -> str:
        return str(self.day)


class PrintFile(models.Model):
    """One zip of a print run."""

    print_run = models.ForeignKey(PrintRun, on_delete=models.PROTECT, related_name="files")
    sequence = models.PositiveIntegerField()
    name = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    letter_count = models.PositiveIntegerField()
    uploaded_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["print_run", "sequence"]
        constraints = [models.UniqueConstraint(fields=["print_run", "sequence"], name="print_file_once")]

    def __str__(self) -> str:
        return self.name


class Letter(models.Model):
    """What a notification of type letter has beside it. It lies in at most one print file."""

    class Kind(models.TextChoices):
        """Where the PDF comes from."""

        TEMPLATED = "templated"
        PRECOMPILED = "precompiled"

    class Verdict(models.TextChoices):
        """What the virus scanner said."""

        CLEAN = "clean"
        INFECTED = "infected"

    notification = models.OneToOneField(Notification, on_delete=models.CASCADE, primary_key=True)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.TEMPLATED)
    pdf = models.FileField(storage=pdf_storage, blank=True, max_length=255)
    sha256 = models.CharField(max_length=64, blank=True)
    pages = models.PositiveSmallIntegerField(null=True, blank=True)
    postage = models.CharField(max_length=20, choices=Template.Postage, default=Template.Postage.SECOND)
    print_run = models.ForeignKey(PrintRun, on_delete=models.PROTECT, null=True, blank=True, related_name="letters")
    print_file = models.ForeignKey(PrintFile, on_delete=models.PROTECT, null=True, blank=True, related_name="letters")
    scan_verdict = models.CharField(max_length=20, choices=Verdict, blank=True)
    scanned_sha256 = models.CharField(max_length=64, blank=True, help_text="The bytes the verdict belongs to.")
    scanned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(print_file__isnull=True) | Q(print_run__isnull=False), name="letter_file_of_its_run"
            ),
        ]

    def __str__(self) -> str:
        return str(self.notification_id)
