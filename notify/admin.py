"""Admin pages of services, their templates and what the watchdogs did."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from notify import (
    alert_admin,  # noqa: F401  (registers its page)
    content,
    notification_admin,  # noqa: F401  (registers its page)
    retention_admin,  # noqa: F401  (registers its page)
    schedule_admin,  # noqa: F401  (registers its page)
    volumes_admin,  # noqa: F401  (registers its page)
)
from notify.admin_base import NotifyAdmin, ReadOnlyAdmin, ReadOnlyInline
from notify.models import (
    DataRetention,
    NotificationType,
    Service,
    Template,
    TemplateVersion,
    WatchdogRun,
)
from notify.service_admin import ServiceSwitch

admin.site.site_header = "Notify"
admin.site.site_title = "Notify"
admin.site.index_title = "Overview"
admin.site.site_url = None
admin.site.enable_nav_sidebar = False  # the lists need its room at 1,280 pixels; the header leads to the daily pages
admin.site.empty_value_display = "–"


class RetentionInline(ReadOnlyInline):
    """How long a service's messages are kept, where it is not the default; edited on a page of its own, which asks."""

    model = DataRetention
    fields = readonly_fields = ("notification_type", "days")
    show_change_link = True
    verbose_name_plural = "Retention (a channel without a row here: the default; add one under Data retention)"


@admin.register(Service)
class ServiceAdmin(ServiceSwitch):
    """Who sends, and how much of it."""

    list_display = ("name", "active", "contact_email", "sms_daily_limit", "email_daily_limit", "letter_daily_limit")
    list_filter = ("active",)
    search_fields = ("name",)
    filter_horizontal = ("owners",)
    inlines = (RetentionInline,)
    empty_text = "No service yet. Add one, then its templates, then upload a file under Jobs."
    fieldsets = (
        (None, {"fields": ("name", "active", "waiting", "owners", "contact_email")}),
        ("SMS", {"fields": ("sms_sender", "international_sms", "sms_daily_limit")}),
        ("Email", {"fields": ("email_from_name", "email_reply_to", "email_daily_limit")}),
        ("Letters", {"fields": ("letter_contact_block", "letter_daily_limit")}),
    )


class TemplateForm(forms.ModelForm):
    """Refuses a template that cannot be read, and words its channel has no place for."""

    class Meta:
        model = Template
        fields = ("service", "name", "notification_type", "subject", "content", "postage")
        help_texts = {
            "content": "((name)) is replaced; ((urgent??text)) is shown when the value is yes. In a letter a line that "
            "begins with # is a heading, with * a bullet, with 1. a numbered item.",
        }

    def clean_subject(self) -> str:
        """Return the subject when its placeholders can be read."""
        return self._readable("subject")

    def clean_content(self) -> str:
        """Return the content when its placeholders can be read."""
        return self._readable("content")

    def clean(self) -> dict[str, Any]:
        """Hold subject and postage against the channel."""
        cleaned = super().clean() or self.cleaned_data
        channel = cleaned.get("notification_type") or self.instance.notification_type
        if channel == NotificationType.SMS and cleaned.get("subject"):
            self.add_error("subject", "An SMS has no subject. Leave this empty.")
        if channel == NotificationType.EMAIL and not cleaned.get("subject") and "subject" not in self.errors:
            self.add_error("subject", "An email needs a subject.")
        if channel != NotificationType.LETTER and cleaned.get("postage"):
            self.add_error("postage", "Only letters have postage. Leave this empty.")
        if channel == NotificationType.LETTER and not cleaned.get("postage"):
            cleaned["postage"] = Template.Postage.SECOND
        return cleaned

    def _readable(self, field: str) -> str:
        try:
            content.check_syntax(self.cleaned_data[field])
        except content.TemplateProblem as problem:
            raise forms.ValidationError(str(problem), code=problem.code) from problem
        return self.cleaned_data[field]


class VersionInline(ReadOnlyInline):
    """Every wording the template had: what was sent can always be read again."""

    model = TemplateVersion
    fields = readonly_fields = ("version", "subject", "content", "postage", "created_at")
    verbose_name_plural = "Versions"
    classes = ("collapse",)


@admin.register(Template)
class TemplateAdmin(NotifyAdmin):
    """What messages say."""

    form = TemplateForm
    list_display = ("name", "service", "notification_type", "version")
    list_filter = ("notification_type", "service")
    list_select_related = ("service",)
    search_fields = ("name",)
    inlines = (VersionInline,)
    empty_text = "No template yet. Add one for a service: its ((placeholders)) become columns of the file."
    fields = ("service", "name", "notification_type", "subject", "content", "postage", "columns", "version")

    def get_readonly_fields(self, request: HttpRequest, obj: Template | None = None) -> tuple[str, ...]:
        """A template stays with its service and channel."""
        return ("columns", "version") + (("service", "notification_type") if obj else ())

    @admin.display(description="columns a file needs")
    def columns(self, template: Template) -> str:
        """Name the columns of a file for this template."""
        if not template.notification_type:
            return "Shown when the template is saved."
        columns = content.RECIPIENT_COLUMNS[template.notification_type]
        return ", ".join([*columns, *content.placeholders(template.subject, template.content)])


@admin.register(WatchdogRun)
class WatchdogRunAdmin(ReadOnlyAdmin):
    """When each periodic duty ran and what it found."""

    list_display = ("task", "due_at", "started_at", "finished_at", "outcome", "found", "repaired", "alerted")
    list_filter = ("outcome",)
    search_fields = ("task",)
    empty_text = "No run has been recorded yet. Runs appear here once the scheduler and the workers are up."
