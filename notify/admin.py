"""Admin pages of services, their templates, alerts and what the watchdogs did."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notify import (
    content,
    notification_admin,  # noqa: F401  (registers its page)
    schedule_admin,  # noqa: F401  (registers its page)
)
from notify.admin_base import NotifyAdmin, ReadOnlyAdmin, ReadOnlyInline, badge
from notify.models import (
    Alert,
    DailyTotal,
    DataRetention,
    NotificationType,
    Service,
    Template,
    TemplateVersion,
    WatchdogRun,
)

admin.site.site_header = "Notify"
admin.site.site_title = "Notify"
admin.site.index_title = "Overview"
admin.site.site_url = None
admin.site.enable_nav_sidebar = False  # the lists need its room at 1,280 pixels; the header leads to the daily pages
admin.site.empty_value_display = "–"


class RetentionInline(admin.TabularInline):
    """How long a service's messages are kept, where it is not seven days."""

    model = DataRetention
    extra = 0
    verbose_name_plural = "Retention (a channel without a row here: 7 days)"


@admin.register(Service)
class ServiceAdmin(NotifyAdmin):
    """Who sends, and how much of it."""

    list_display = ("name", "active", "contact_email", "sms_daily_limit", "email_daily_limit", "letter_daily_limit")
    list_filter = ("active",)
    search_fields = ("name",)
    filter_horizontal = ("owners",)
    inlines = (RetentionInline,)
    empty_text = "No service yet. Add one, then its templates, then upload a file under Jobs."
    fieldsets = (
        (None, {"fields": ("name", "active", "owners", "contact_email")}),
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


class AlertState(admin.SimpleListFilter):
    """Open alerts unless something else is chosen."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Offer what is not the default."""
        return [("resolved", "Resolved"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """Call the default what it is."""
        first, *others = super().choices(changelist)
        yield first | {"display": "Open"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list."""
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=False) if self.value() == "resolved" else queryset.open()


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What a person should look at."""

    list_display = ("kind", "scope", "message", "state", "times_seen", "first_seen_at", "last_seen_at")
    list_filter = (AlertState, "kind")
    search_fields = ("kind", "scope")
    actions = ("acknowledge",)
    empty_text = "Nothing is wrong: no alert is open."

    @admin.display(description="state")
    def state(self, alert: Alert) -> SafeString:
        """Say whether it is open, and whether a person has seen it."""
        if alert.resolved_at:
            return badge("resolved", "good")
        if alert.snoozed_until and alert.snoozed_until > timezone.now():
            return badge("snoozed", "quiet")
        return badge("acknowledged", "busy") if alert.acknowledged_at else badge("open", "bad")

    @admin.action(description="Acknowledge: a person is on it", permissions=["acknowledge"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Note that a person has seen these; those resolved or acknowledged before stay as they are."""
        seen = queryset.filter(resolved_at__isnull=True, acknowledged_at__isnull=True)
        self.message_user(request, f"Acknowledged: {seen.update(acknowledged_at=timezone.now())}.")

    def has_acknowledge_permission(self, request: HttpRequest) -> bool:
        """Who may change alerts may acknowledge them."""
        return request.user.has_perm("notify.change_alert")


@admin.register(WatchdogRun)
class WatchdogRunAdmin(ReadOnlyAdmin):
    """When each periodic duty ran and what it found."""

    list_display = ("task", "due_at", "started_at", "finished_at", "outcome", "found", "repaired", "alerted")
    list_filter = ("outcome",)
    search_fields = ("task",)
    empty_text = "No run has been recorded yet. Runs appear here once the scheduler and the workers are up."


@admin.register(DailyTotal)
class DailyTotalAdmin(ReadOnlyAdmin):
    """A day's messages, counted by outcome."""

    list_display = ("day", "service", "notification_type", "messages", "sent_within_ten_seconds")
    list_filter = ("notification_type", "service")
    list_select_related = ("service",)
    empty_text = "No totals yet. A day's messages are counted in the night after it."

    @admin.display(description="messages")
    def messages(self, total: DailyTotal) -> str:
        """Add up the counts."""
        return f"{sum(total.counts.values()):,}"
