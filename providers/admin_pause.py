"""The switch that stops all sending, in the admin: who pulled it when and why, and the two buttons."""

from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from notify.admin_base import BoundedPaginator, ReadOnlyAdmin, badge
from notify.models import Notification
from providers.models import Pause
from providers.pausing import pause_sending, resume_sending
from providers.tasks import send_due_notifications


class ReasonForm(forms.Form):
    """Why the switch is moved. pause: the one that is on when a person wants to resume."""

    reason = forms.CharField(
        max_length=300,
        help_text="Shown to everybody and kept in the history.",
        widget=forms.TextInput(attrs={"size": 60}),
        error_messages={"required": "PAUSE_REASON: Say why, so that others know whether they may change it back."},
    )
    pause = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)


class Turn(NamedTuple):
    """One way to move the switch: its words. already: what is said when somebody else was first."""

    title: str
    button: str
    promises: tuple[str, ...]
    done: str
    already: str


TURNS = {
    "pause": Turn(
        "Pause all sending?",
        "Pause all sending",
        (
            "No SMS and no email is given to any provider, of any service, until somebody resumes.",
            "What workers have in hand at this moment is finished.",
            "Nothing is lost: jobs are still processed, receipts and callbacks still go, and messages wait.",
            "An alert stays open, and every page says so, while it is on.",
        ),
        "All sending is paused.",
        "Already done: all sending is paused already.",
    ),
    "resume": Turn(
        "Resume sending?",
        "Resume sending",
        ("Everything that is due goes out at once, fairly between services.", "The alert closes."),
        "Sending goes on.",
        "Already done: this pause has ended.",
    ),
}


@admin.register(Pause)
class PauseAdmin(ReadOnlyAdmin):
    """Every pause, newest first."""

    list_display = ("paused_at", "state", "reason", "paused_by", "ended_at", "ended_by")
    list_select_related = ("paused_by", "ended_by")
    empty_text = "Sending has never been paused."

    def get_urls(self) -> list[URLPattern]:
        """Add the two questions."""
        wrap = self.admin_site.admin_view
        turns = [
            path(f"{name}/", wrap(self.turn_view), {"name": name}, name=f"providers_pause_{name}") for name in TURNS
        ]
        return [*turns, *super().get_urls()]

    @admin.display(description="state")
    def state(self, pause: Pause) -> SafeString:
        """Say whether it is on."""
        return badge("ended", "quiet") if pause.ended_at else badge("on", "bad")

    def has_turn_permission(self, request: HttpRequest) -> bool:
        """Who may change pauses moves the switch."""
        return request.user.has_perm("providers.change_pause")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the one button that makes sense."""
        extra = {"is_paused": Pause.objects.on().exists(), "may_turn": self.has_turn_permission(request)}
        return super().changelist_view(request, extra | (extra_context or {}))

    def turn_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what will happen and ask why; after the answer, do it once."""
        if not self.has_turn_permission(request):
            raise PermissionDenied
        on = Pause.objects.on().select_related("paused_by").first()
        form = ReasonForm(request.POST or None, initial={"pause": on.pk if on else None})
        if request.method == "POST" and form.is_valid():
            self._turn(request, name, form.cleaned_data)
            return HttpResponseRedirect(_list())
        if request.method != "POST" and bool(on) == (name == "pause"):
            self.message_user(request, TURNS[name].already, messages.WARNING)
            return HttpResponseRedirect(_list())
        context = self.admin_site.each_context(request) | {
            "title": TURNS[name].title, "opts": self.opts, "turn": TURNS[name], "form": form, "pause": on,
            "waiting": BoundedPaginator(Notification.objects.due(timezone.now()), 1).told,
        }  # fmt: skip
        return TemplateResponse(request, "admin/providers/pause/turn.html", context)

    def _turn(self, request: HttpRequest, name: str, given: dict[str, Any]) -> None:
        now, turn = timezone.now(), TURNS[name]
        with transaction.atomic():
            if name == "pause":
                effect = pause_sending(reason=given["reason"], by=request.user, now=now)
                pause = Pause.objects.on().first()
            else:
                pause = Pause.objects.filter(pk=given["pause"]).first()
                effect = pause is not None and resume_sending(by=request.user, now=now, only=pause.pk)
            if effect:
                flag = ADDITION if name == "pause" else CHANGE
                words = f"{turn.done} {given['reason']}"
                LogEntry.objects.log_actions(request.user.pk, [pause], flag, words, single_object=True)
                if name == "resume":
                    send_due_notifications.delay_on_commit()
        level = messages.SUCCESS if effect else messages.WARNING
        self.message_user(request, turn.done if effect else turn.already, level)


def _list() -> str:
    return reverse("admin:providers_pause_changelist")
