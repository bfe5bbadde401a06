"""Held messages in the admin: the evidence, and a person's decision, each written into the message's history."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from notify.admin_base import local_time
from notify.models import Notification
from notify.notification_admin import NotificationAdmin
from providers import held
from providers.evidence import evidence_of, tries
from providers.models import HeldNotification, Receipt
from providers.tasks import send_due_notifications

AT_ONCE = 1_000  # messages decided with one answer
LISTED = 20  # of them shown in the question
ALREADY = "Already done: decided, sent or reported on meanwhile, or it is not held any more."


class Decision(NamedTuple):
    """What a person may decide: its words, and `apply(seen, user, now)`, which says which messages moved."""

    title: str
    button: str
    promises: tuple[str, ...]
    done: str
    apply: Callable[[Mapping[UUID, int], Any, datetime], list[Notification]]


def _send_again(seen: Mapping[UUID, int], user: Any, now: datetime) -> list[Notification]:
    moved = held.send_again(seen, now=now)
    if moved:
        send_due_notifications.delay_on_commit()
    return moved


def _leave(seen: Mapping[UUID, int], user: Any, now: datetime) -> list[Notification]:
    moved = held.leave(seen, f"outcome unknown, left by {user}", now=now)
    if moved:
        deliver_due_callbacks.delay_on_commit()
    return moved


DECISIONS = {
    "send-again": Decision(
        "Send again?",
        "Send again",
        (
            "If the provider did take a message the first time, its recipient is told twice.",
            "It goes out at once, through any active provider of its channel by their shares.",
            "If nobody can say what became of it again, it is held again and you are asked again.",
        ),
        "sent again",
        _send_again,
    ),
    "leave": Decision(
        "Leave as it is?",
        "Leave",
        (
            "The message becomes technical-failure and its service is told so. It is not sent again.",
            "If the provider did take it, a receipt that comes later still corrects the status.",
        ),
        "left as technical-failure",
        _leave,
    ),
}


@admin.register(HeldNotification)
class HeldNotificationAdmin(NotificationAdmin):
    """Messages that wait for a person, the newest first."""

    list_display = ("to", "channel", "service", "provider_name", "tried", "unanswered", "receipts",
                    "held_since")  # fmt: skip
    list_filter = (("provider_name", admin.AllValuesFieldListFilter), "service")
    empty_text = "No message is held. One appears here when nobody knows whether a provider took it."
    actions = ("send_again", "leave")
    fieldsets = (
        (None, {"fields": ("full_recipient", "shown_status", "notification_type", "id", "client_reference", "links")}),
        ("Where it comes from", {"fields": ("service", "template", "template_version", "job", "job_row_number")}),
    )

    def get_urls(self) -> list[URLPattern]:
        """Add the question about one message, and the answer about any number."""
        wrap = self.admin_site.admin_view
        of_one = [
            path(f"<uuid:pk>/{name}/", wrap(self.question_view), {"name": name}, name=_view_name(name))
            for name in DECISIONS
        ]
        answers = [
            path(f"{name}/", wrap(self.answer_view), {"name": name}, name=f"{_view_name(name)}_answer")
            for name in DECISIONS
        ]
        return [*of_one, *answers, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Only what waits for a person, with the number of receipts stored for each."""
        stored = Receipt.objects.filter(notification_id=OuterRef("pk")).order_by().values("notification_id")
        count = Subquery(stored.annotate(count=Count("pk")).values("count"), output_field=IntegerField())
        return super().get_queryset(request).held_for_person().annotate(receipt_count=Coalesce(count, 0))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Find a message that is held no more, too: its page says so. One that never was is not for this page."""
        try:
            return HeldNotification.objects.filter(pk=UUID(object_id), unknown_outcomes__gt=0).first()
        except ValueError:
            return None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the evidence above the message, and the buttons while it is held."""
        message = self.get_object(request, object_id)
        extra = {"subtitle": None, "title": "Held message"}
        if message is not None:
            waits = HeldNotification.objects.held_for_person().filter(pk=message.pk).exists()
            may_decide = waits and self.has_decide_permission(request)
            extra |= {"evidence": evidence_of(message), "waits": waits, "may_decide": may_decide}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | extra)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The history is the message's own."""
        return HttpResponseRedirect(reverse("admin:notify_notification_history", args=[object_id]))

    @admin.display(description="tries")
    def tried(self, message: Notification) -> int:
        """How often it was given to a provider."""
        return message.attempts

    @admin.display(description="of unknown outcome")
    def unanswered(self, message: Notification) -> int:
        """How many of these ended without an answer."""
        return message.unknown_outcomes

    @admin.display(description="receipts stored")
    def receipts(self, message: Any) -> int:
        """How many receipts are stored for it."""
        return message.receipt_count

    @admin.display(description="last tried, held since")
    def held_since(self, message: Notification) -> str:
        """When the last try ended without an answer."""
        return local_time(message.updated_at)

    @admin.action(description="Send again", permissions=["decide"])
    def send_again(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """Ask first."""
        return self._question(request, "send-again", queryset)

    @admin.action(description="Leave", permissions=["decide"])
    def leave(self, request: HttpRequest, queryset: QuerySet) -> HttpResponse:
        """Ask first."""
        return self._question(request, "leave", queryset)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Who may change held messages decides about them."""
        return request.user.has_perm("providers.change_heldnotification")

    def question_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
        """Ask about one message."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        found = self.get_queryset(request).filter(pk=pk)
        if not found.exists():
            self.message_user(request, ALREADY, messages.WARNING)
            return HttpResponseRedirect(_list())
        return self._question(request, name, found)

    def answer_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Do what was decided, once, and write it into the history of each message."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            try:
                seen = read_seen(request.POST.get("seen", ""))
            except ValueError:
                text = "HELD_FORM: The form could not be read and nothing was done. Choose the messages again."
                self.message_user(request, text, messages.ERROR)
            else:
                self._apply(request, DECISIONS[name], seen)
        return HttpResponseRedirect(_list())

    def _question(self, request: HttpRequest, name: str, queryset: QuerySet) -> HttpResponse:
        rows = list(queryset.select_related("service").order_by("pk")[: AT_ONCE + 1])
        chosen = rows[:AT_ONCE]
        context = self.admin_site.each_context(request) | {
            "title": DECISIONS[name].title, "opts": self.opts, "decision": DECISIONS[name], "chosen": len(chosen),
            "more": len(rows) > AT_ONCE, "seen": write_seen(chosen), "unlisted": len(chosen) - LISTED,
            "listed": [(row, self.to(row), tries(row), row.receipt_count) for row in chosen[:LISTED]],
            "answer_url": reverse(f"admin:{_view_name(name)}_answer"),
        }  # fmt: skip
        return TemplateResponse(request, "admin/providers/heldnotification/question.html", context)

    def _apply(self, request: HttpRequest, decision: Decision, seen: Mapping[UUID, int]) -> None:
        with transaction.atomic():
            moved = decision.apply(seen, request.user, timezone.now())
            LogEntry.objects.bulk_create([_entry(request.user, decision, row) for row in moved])
        if moved:
            words = "message is" if len(moved) == 1 else "messages are"
            self.message_user(request, f"{len(moved):,} {words} {decision.done}.", messages.SUCCESS)
        if len(moved) < len(seen):
            self.message_user(request, f"{len(seen) - len(moved):,} of {len(seen):,}: {ALREADY}", messages.WARNING)


def write_seen(rows: Sequence[Notification]) -> str:
    """Write which messages a person saw, each with its tries, for a hidden field."""
    return " ".join(f"{row.pk}:{row.attempts}" for row in rows)


def read_seen(text: str) -> dict[UUID, int]:
    """Read what write_seen wrote. Raises ValueError when anything else comes, nothing at all, or too much."""
    pairs = [part.split(":") for part in text.split()]
    if not 0 < len(pairs) <= AT_ONCE or any(len(pair) != 2 for pair in pairs):
        raise ValueError("not what the form held")
    return {UUID(key): int(attempts) for key, attempts in pairs}


def _entry(user: Any, decision: Decision, row: Notification) -> LogEntry:
    """Say in the message's history what was decided and what was known then: a new try writes over it."""
    since = f" since {local_time(row.first_attempt_at)}" if row.first_attempt_at else ""
    until = f", the last ended {local_time(row.updated_at)}" if row.updated_at else ""
    known = f"{tries(row)}{since}{until}, at {row.provider_name or 'nobody'}"
    return LogEntry(
        user=user, content_type=ContentType.objects.get_for_model(Notification), object_id=str(row.pk),
        object_repr=str(row), action_flag=CHANGE, change_message=f"Held message {decision.done}. Known then: {known}.",
    )  # fmt: skip


def _view_name(name: str) -> str:
    return f"providers_heldnotification_{name.replace('-', '_')}"


def _list() -> str:
    return reverse("admin:providers_heldnotification_changelist")
