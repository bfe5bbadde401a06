"""Admin pages of notifications: found by exact id, reference or recipient, and never changed."""

from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from notify import recipients
from notify.admin_base import ReadOnlyAdmin, badge, list_link, object_link
from notify.crypto import Unreadable
from notify.models import Notification, NotificationType

_UNREADABLE = "cannot be read: its key is not in ENCRYPTION_KEYS"
_GOOD = {Notification.Status.DELIVERED, Notification.Status.SENT}
_QUIET = {Notification.Status.CANCELLED}


def status_badge(status: str) -> SafeString:
    """Show a notification's status."""
    if status not in Notification.FINAL:
        return badge(status, "busy")
    return badge(status, "good" if status in _GOOD else "quiet" if status in _QUIET else "bad")


def masked(recipient: str, notification_type: str) -> str:
    """Return enough of a recipient to tell two apart: three digits, or a letter and the domain, or a postcode."""
    if not recipient:
        return "–"
    if notification_type == NotificationType.SMS:
        return f"•••• {recipient[-3:]}" if len(recipient) > 6 else "••••"
    if notification_type == NotificationType.EMAIL:
        name, _, domain = recipient.partition("@")
        return f"{name[:1]}•••@{domain}" if domain else "••••"
    return f"•••• {recipient.splitlines()[-1][:12]}"


def spellings(text: str) -> set[str]:
    """Return what a person typed, and the form in which it is stored when it is a phone number or an address."""
    found = {text.strip()}
    for read in (lambda: recipients.validate_phone(text, international=True), lambda: recipients.validate_email(text)):
        try:
            found.add(read())
        except recipients.InvalidRecipient:
            continue
    return found


class JobFilter(admin.SimpleListFilter):
    """Shown on the way from a job's page only: names the job and lets a person leave it."""

    title = "job"
    parameter_name = "job"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Offer the job that is asked for, if there is one."""
        asked = request.GET.get(self.parameter_name, "")
        try:
            job = Notification._meta.get_field("job").related_model.objects.filter(pk=asked).first()
        except (ValueError, TypeError, ValidationError):
            job = None
        return [(asked, str(job))] if job else []

    def has_output(self) -> bool:
        """Take no room where no job is asked for."""
        return bool(self.lookup_choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list; a job that does not exist has no messages."""
        if not self.value():
            return queryset
        return queryset.filter(job=self.value()) if self.lookup_choices else queryset.none()


class HeldFilter(admin.SimpleListFilter):
    """Messages that wait for a person."""

    title = "held"
    parameter_name = "held"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """One choice."""
        return [("person", "Outcome unknown, waits for a person")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list."""
        return queryset.held_for_person() if self.value() else queryset


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """Every message, newest first."""

    list_display = ("to", "shown_status", "channel", "service", "template", "provider_name", "created_at", "sent_at")
    list_filter = (HeldFilter, "status", "notification_type", JobFilter, "service")
    list_select_related = ("service", "template")
    search_fields = ("pk",)  # shows the box; get_search_results does the finding
    search_help_text = "Exact id, reference, phone number or email address"
    empty_text = "No messages yet. Upload a file under Jobs, and each of its rows becomes one."
    fieldsets = (
        (None, {"fields": ("full_recipient", "shown_status", "status_reason", "notification_type", "id",
                           "client_reference", "links")}),
        ("Where it comes from", {"fields": ("service", "template", "template_version", "job", "job_row_number")}),
        ("Sending", {"fields": ("provider_name", "provider_reference", "attempts", "unknown_outcomes",
                                "first_attempt_at", "claimed_at", "due_at")}),
        ("Times", {"fields": ("created_at", "sent_at", "delivered_at", "updated_at")}),
    )  # fmt: skip

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by exact id, reference or recipient, in any common way of writing it."""
        if not search_term.strip():
            return queryset, False
        return reduce(or_, (queryset.found_by(text) for text in spellings(search_term))), False

    @admin.display(description="recipient")
    def to(self, notification: Notification) -> str:
        """Show a masked recipient."""
        return masked(_recipient(notification), notification.notification_type)

    @admin.display(description="recipient")
    def full_recipient(self, notification: Notification) -> str:
        """Show the recipient in full."""
        return _recipient(notification)

    @admin.display(description="status")
    def shown_status(self, notification: Notification) -> SafeString:
        """Show the status as services know it."""
        return status_badge(notification.status)

    @admin.display(description="channel")
    def channel(self, notification: Notification) -> str:
        """Name the channel."""
        return notification.get_notification_type_display()

    @admin.display(description="see also")
    def links(self, notification: Notification) -> SafeString:
        """Lead to what belongs to it on the floors above, by the names of their pages."""
        found = [
            list_link("Receipts", "providers_receipt", notification_id=notification.pk),
            list_link("Callbacks", "callbacks_callback", notification_id=notification.pk),
        ]
        if notification.notification_type == NotificationType.LETTER:
            found.append(object_link("Letter", "letters_letter", notification.pk))
        return format_html_join(" · ", "{}", ((link,) for link in found))


def _recipient(notification: Notification) -> Any:
    try:
        return notification.recipient
    except Unreadable:
        return _UNREADABLE
