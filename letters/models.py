"""Notifications that are printed: the letter's file, and the daily run that takes letters to the postal provider."""

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models
from django.db.models import Q
from django.utils import timezone

from letters import files
from letters.querysets import LetterQuerySet, PrintFileQuerySet
from notify.models import Notification, Service, Template


def pdf_storage() -> Storage:
    """Return where PDFs that may be printed lie; for those not (yet) fit see letters/files.py."""
    return storages[files.PDF]


class PrintRun(models.Model):
    """One day's collation; `day` is unique, so a day is collated once."""

    day = models.DateField(unique=True)
    deadline = models.DateTimeField(help_text="Letters created before this are taken.")
    started_at = models.DateTimeField(default=timezone.now)
    progressed_at = models.DateTimeField(null=True, blank=True, help_text="The lease of whoever works on it.")
    finished_at = models.DateTimeField(null=True, blank=True)
    letter_count = models.PositiveIntegerField(default=0)
    sheet_count = models.PositiveIntegerField(default=0, help_text="Sheets of paper, two pages each.")

    class Meta:
        ordering = ["-day"]

    def __str__(self) -> str:
        return str(self.day)


class PrintFile(models.Model):
    """One zip of a print run."""

    print_run = models.ForeignKey(PrintRun, on_delete=models.PROTECT, related_name="files")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, null=True, blank=True, db_index=False)
    postage = models.CharField(max_length=20, choices=Template.Postage, blank=True)
    sequence = models.PositiveIntegerField()
    name = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    letter_count = models.PositiveIntegerField()
    sheet_count = models.PositiveIntegerField(default=0, help_text="Sheets of paper, two pages each.")
    uploaded_at = models.DateTimeField(null=True, blank=True)
    acknowledgeable = models.BooleanField(default=True, help_text="Whether the postal provider says that it got it.")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledgement = models.CharField(max_length=300, blank=True, help_text="What the postal provider said of it.")
    removed_at = models.DateTimeField(null=True, blank=True, help_text="When it was deleted from the storage postal.")

    objects = PrintFileQuerySet.as_manager()

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
    # Rendering (templated) and scanning (precompiled) claim the row as loops do; NULL: nothing is left to do.
    due_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    unreadable_at = models.DateTimeField(null=True, blank=True, help_text="A print run could not read its PDF then.")
    original_file_name = models.CharField(max_length=255, blank=True, help_text="As uploaded.")
    failure_seen_at = models.DateTimeField(null=True, blank=True, help_text="A person has seen its technical failure.")

    objects = LetterQuerySet.as_manager()

    class Meta:
        indexes = [
            # letters.render_letter_pdfs and letters.scan_letters
            models.Index(fields=["kind", "due_at"], name="letter_due", condition=Q(due_at__isnull=False)),
            # letters.collate_letter_pdfs_for_day, which names those it left out
            models.Index(fields=["notification"], name="letter_unreadable", condition=Q(unreadable_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(print_file__isnull=True) | Q(print_run__isnull=False), name="letter_file_of_its_run"
            ),
        ]

    def __str__(self) -> str:
        return str(self.notification_id)


class LetterHold(models.Model):
    """A service's letters stay out of the print run until somebody releases them, which deletes the row."""

    service = models.OneToOneField(Service, on_delete=models.CASCADE, related_name="letter_hold")
    reason = models.CharField(max_length=300)
    held_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.service}: {self.reason}"


class BankHoliday(models.Model):
    """An operator's word on one day, over the calendar's: a holiday it does not know, or one that is worked."""

    day = models.DateField(unique=True)
    name = models.CharField(max_length=100)
    working_day = models.BooleanField(default=False, help_text="On: the day is worked although the calendar says not.")

    class Meta:
        ordering = ["day"]

    def __str__(self) -> str:
        return f"{self.day}: {self.name}"
