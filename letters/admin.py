"""Admin pages of letters and of the daily run that takes them to the postal provider."""

from django.contrib import admin
from django.utils.safestring import SafeString

from letters import (
    admin_print_run,  # noqa: F401  (registers its pages)
    files,
)
from letters.admin_actions import LetterActions
from letters.admin_preview import PreviewPages
from letters.admin_problems import Problem
from letters.admin_upload import UploadPage
from letters.models import Letter
from notify.admin_base import FoundByMessage, object_link
from notify.notification_admin import status_badge


@admin.register(Letter)
class LetterAdmin(FoundByMessage, LetterActions, UploadPage, PreviewPages):
    """Letters, newest first."""

    list_display = ("made", "service", "kind", "postage", "pages", "shown_status", "print_run", "scan_verdict")
    list_filter = (Problem, "kind", "postage", "scan_verdict")
    list_select_related = ("notification__service", "print_run")
    ordering = ("-notification_id",)
    empty_text = "No letters yet. Each row of a job with a letter template becomes one, and each PDF added here."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "message",
                    "service",
                    "shown_status",
                    "reason",
                    "kind",
                    "postage",
                    "pages",
                    "stored",
                    "sha256",
                    "original_file_name",
                )
            },
        ),
        ("Print", {"fields": ("print_run", "print_file")}),
        ("Virus scan", {"fields": ("scan_verdict", "scanned_sha256", "scanned_at")}),
        ("Work to be done", {"fields": ("due_at", "claimed_at", "attempts", "last_error")}),
        ("Preview", {"fields": ("pages_shown",)}),
    )

    @admin.display(description="made")
    def made(self, letter: Letter) -> object:
        """When its message was made."""
        return letter.notification.created_at

    @admin.display(description="service")
    def service(self, letter: Letter) -> str:
        """Whose letter it is."""
        return str(letter.notification.service)

    @admin.display(description="status")
    def shown_status(self, letter: Letter) -> SafeString:
        """Show the status of its message."""
        return status_badge(letter.notification.status)

    @admin.display(description="reason")
    def reason(self, letter: Letter) -> str:
        """Say why it has that status, where something went wrong."""
        return letter.notification.status_reason or "–"

    @admin.display(description="PDF")
    def stored(self, letter: Letter) -> str:
        """Say where its file lies; not a link: an infected one is not for opening."""
        return f"{letter.pdf.name} in {files.alias_of(letter)}" if letter.pdf else "–"

    @admin.display(description="message")
    def message(self, letter: Letter) -> SafeString:
        """Lead to its message."""
        return object_link(str(letter.pk), "notify_notification", letter.pk)
