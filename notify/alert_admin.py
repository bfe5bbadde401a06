"""Admin pages of alerts: what is wrong, who was told, and acknowledging or snoozing it."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from notify import telling
from notify.admin_base import ReadOnlyAdmin, badge, list_link, local_time
from notify.alert_forms import ATTENTION, Attention, SnoozeForm
from notify.alerts import state_of
from notify.models import Alert
from notify.runbook import entry

TONES = {"resolved": "good", "snoozed": "quiet", "acknowledged": "busy", "open": "bad"}
MESSAGE_SHOWN = 120  # characters in the list


class AlertState(admin.SimpleListFilter):
    """Open alerts unless something else is chosen."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Offer what is not the default."""
        return [
            ("unattended", "Open, nobody is on it"),
            ("acknowledged", "Open, acknowledged"),
            ("snoozed", "Open, snoozed"),
            ("untold", f"Not told for over {settings.ALERT_UNTOLD_AFTER.total_seconds() / 60:g} minutes"),
            ("resolved", "Resolved"),
            ("all", "All"),
        ]

    def choices(self, changelist: Any) -> Any:
        """Call the default what it is."""
        first, *others = super().choices(changelist)
        yield first | {"display": "Open"}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list."""
        now = timezone.now()
        if self.value() == "all":
            return queryset
        narrow: dict[str | None, Callable[[], QuerySet]] = {
            "unattended": lambda: queryset.unattended(now),
            "acknowledged": lambda: queryset.acknowledged(now),
            "snoozed": lambda: queryset.snoozed(now),
            "untold": lambda: queryset.untold_long(telling.channels(), now),
            "resolved": queryset.resolved,
        }
        return narrow.get(self.value(), queryset.open)()


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What a person should look at."""

    list_display = ("kind", "scope", "shown_message", "state", "told", "times_seen", "last_seen_at")
    list_filter = (AlertState, "kind")
    search_fields = ("kind", "scope")
    actions = ("acknowledge", "snooze", "unsnooze", "resolve")
    empty_text = "Nothing is wrong: no alert is open."
    change_form_template = "admin/notify/alert/change_form.html"
    fieldsets = (
        (None, {"fields": ("kind", "scope", "message", "state", "what_to_do", "same_kind")}),
        ("When", {"fields": ("times_seen", "first_seen_at", "last_seen_at", "acknowledged_at", "snoozed_until",
                             "resolved_at")}),
        ("Who was told", {"fields": ("told_by_email", "told_by_webhook", "told_at_all")}),
    )  # fmt: skip
    readonly_fields = (
        "state", "what_to_do", "same_kind", "told_by_email", "told_by_webhook", "told_at_all",
    )  # fmt: skip

    @admin.display(description="message")
    def shown_message(self, alert: Alert) -> str:
        """Return the beginning of the message."""
        return Truncator(alert.message).chars(MESSAGE_SHOWN)

    @admin.display(description="state")
    def state(self, alert: Alert) -> SafeString:
        """Say whether it is open, whether a person has seen it, and when it resolved itself."""
        name = state_of(alert, timezone.now())
        moment = {"resolved": alert.resolved_at, "snoozed": alert.snoozed_until}.get(name)
        words = {"resolved": "since", "snoozed": "until"}.get(name, "")
        shown = badge(name, TONES[name])
        return format_html("{} {} {}", shown, words, local_time(moment)) if moment else shown

    @admin.display(description="told")
    def told(self, alert: Alert) -> SafeString | str:
        """Say by which channel somebody was told; red where it is overdue."""
        if telling.why_not():
            return "–"
        parts = []
        for channel in telling.channels():
            told = getattr(alert, f"{channel}_told_at")
            tone = "good" if told else "bad" if alert.overdue else "quiet"
            parts.append((badge(f"{channel} {'told' if told else 'not told'}", tone),))
        return format_html_join(" ", "{}", parts)

    @admin.display(description="by email")
    def told_by_email(self, alert: Alert) -> SafeString | str:
        """Say what became of the email."""
        return _told_by(alert, "email")

    @admin.display(description="by webhook")
    def told_by_webhook(self, alert: Alert) -> SafeString | str:
        """Say what became of the webhook."""
        return _told_by(alert, "webhook")

    @admin.display(description="here")
    def told_at_all(self, alert: Alert) -> str:
        """Say whether alerts leave this installation."""
        return telling.why_not() or "Alerts leave this installation."

    @admin.display(description="what to do")
    def what_to_do(self, alert: Alert) -> str:
        """Say what the runbook says."""
        return f"{entry(alert.kind)}\n(README.md#{alert.kind})".strip()

    @admin.display(description="of this kind")
    def same_kind(self, alert: Alert) -> SafeString:
        """Lead to the open alerts of this kind."""
        return list_link(f"Open alerts of kind {alert.kind}", "notify_alert", kind=alert.kind)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Alerts, each with whether telling it is overdue."""
        overdue = Alert.objects.untold_long(telling.channels(), timezone.now()).filter(pk=OuterRef("pk"))
        return super().get_queryset(request).annotate(overdue=Exists(overdue))

    def get_urls(self) -> list[URLPattern]:
        """Add the pages on which one alert is attended to."""
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{name}/", wrap(self.attend_view), {"name": name}, name=f"notify_alert_{name}")
            for name in ATTENTION
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show an alert with the buttons that fit its state."""
        alert = self.get_object(request, object_id)
        offered = {"attention": _fitting(alert)} if alert and self.has_attend_permission(request) else {}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | offered)

    def attend_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
        """Say what will happen to one alert; after the answer, do it once."""
        alert = self.get_object(request, str(pk))
        if alert is None:
            raise Http404
        if not self.has_attend_permission(request):
            raise PermissionDenied
        page = reverse("admin:notify_alert_change", args=[pk])
        return self._attend(request, ATTENTION[name], [alert], asked=request.method == "POST", back=page)

    @admin.action(description="Acknowledge: a person is on it", permissions=["attend"])
    def acknowledge(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Note that a person has seen these; those resolved or acknowledged before stay as they are."""
        self._apply(request, ATTENTION["acknowledge"], queryset, until=None)

    @admin.action(description="Snooze until a time", permissions=["attend"])
    def snooze(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """Ask until when, then put these off."""
        here = request.get_full_path()
        asked = "until" in request.POST
        return self._attend(request, ATTENTION["snooze"], list(queryset), asked=asked, back=here)

    @admin.action(description="End the snooze", permissions=["attend"])
    def unsnooze(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Put these off no longer."""
        self._apply(request, ATTENTION["unsnooze"], queryset, until=None)

    @admin.action(description="Resolve: the cause is gone", permissions=["attend"])
    def resolve(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Close these by hand; a new occurrence opens, and tells, a new one."""
        self._apply(request, ATTENTION["resolve"], queryset, until=None)

    def has_attend_permission(self, request: HttpRequest) -> bool:
        """Who may change alerts may acknowledge and snooze them."""
        return request.user.has_perm("notify.change_alert")

    def _attend(
        self, request: HttpRequest, attention: Attention, alerts: list[Alert], *, asked: bool, back: str
    ) -> HttpResponse:
        form = SnoozeForm(request.POST if asked else None, now=timezone.now()) if attention.asks_until else None
        if asked and (form is None or form.is_valid()):
            self._apply(request, attention, alerts, until=form.cleaned_data["until"] if form else None)
            return HttpResponseRedirect(back)
        context = {
            "title": attention.title, "attention": attention, "alerts": alerts, "form": form, "back": back,
            "opts": self.opts, "checkbox": ACTION_CHECKBOX_NAME, "action": request.POST.get("action", ""),
        }  # fmt: skip
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, "admin/notify/alert/attend.html", context)

    def _apply(self, request: HttpRequest, attention: Attention, alerts: Iterable[Alert], *, until: Any) -> None:
        """Do it in one transaction with its entries in the history, and say how many it changed."""
        with transaction.atomic():
            changed = attention.apply([alert.pk for alert in alerts], timezone.now(), until)
            words = f"{attention.done} until {local_time(until)}" if until else attention.done
            for alert in changed:
                self.log_change(request, alert, f"{words}.")
        level = messages.SUCCESS if changed else messages.WARNING
        self.message_user(request, f"{words}: {len(changed)}.", level)


def _fitting(alert: Alert) -> list[tuple[str, str]]:
    """Return address and words of what may be done about an alert as it is."""
    state = state_of(alert, timezone.now())
    names = [] if state == "resolved" else ["snooze"]
    names += ["acknowledge"] if names and alert.acknowledged_at is None else []
    names += ["unsnooze"] if state == "snoozed" else []
    names += ["resolve"] if state != "resolved" else []
    return [(reverse(f"admin:notify_alert_{name}", args=[alert.pk]), ATTENTION[name].title) for name in names]


def _told_by(alert: Alert, channel: str) -> str:
    """Say what became of one channel."""
    told_at, attempts = getattr(alert, f"{channel}_told_at"), getattr(alert, f"{channel}_attempts")
    if told_at:
        return f"Told on {local_time(told_at)}"
    if not attempts:
        return "Not told" if channel in telling.channels() else "Not told: not set up here"
    if getattr(alert, f"{channel}_claimed_at"):
        limit = settings.ALERT_LAPSES_LIMIT
        return f"Try {attempts} is on its way, or a crash cut it off; after {limit} of these it rests"
    tries = "1 try" if attempts == 1 else f"{attempts} tries"
    why = getattr(alert, f"{channel}_error")
    return f"Not told after {tries} ({why}); again on {local_time(getattr(alert, f'{channel}_due_at'))}"
