"""Admin pages of letters and of the daily run that takes them to the postal provider."""

from django.contrib import admin
from django.utils.safestring import SafeString

from letters import admin_print_run  # noqa: F401  (registers its pages)
from letters.admin_actions import LetterActions
from letters.models import Letter
from notify.admin_base import FoundByMessage, object_link
from notify.notification_admin import status_badge


@admin.register(Letter)
class LetterAdmin(FoundByMessage, LetterActions):
    """Letters, newest first."""

    list_display = ("made", "service", "kind", "postage", "pages", "shown_status", "print_run", "scan_verdict")
    list_filter = ("kind", "postage", "scan_verdict")
    list_select_related = ("notification__service", "print_run")
    ordering = ("-notification_id",)
    empty_text = "No letters yet. Each row of a job with a letter template becomes one."
    fieldsets = (
        (None, {"fields": ("message", "service", "shown_status", "kind", "postage", "pages", "pdf", "sha256")}),
        ("Print", {"fields": ("print_run", "print_file")}),
        ("Virus scan", {"fields": ("scan_verdict", "scanned_sha256", "scanned_at")}),
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

    @admin.display(description="message")
    def message(self, letter: Letter) -> SafeString:
        """Lead to its message."""
        return object_link(str(letter.pk), "notify_notification", letter.pk)
