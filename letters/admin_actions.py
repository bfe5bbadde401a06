"""What a person may do on the lists of letters and zips: take letters back, see failures, vouch for zips."""

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from letters.acknowledgements import mark_acknowledged
from letters.cancelling import cancel_letters
from letters.models import Letter, PrintFile
from letters.watchdogs import close_seen
from notify.admin_base import ReadOnlyAdmin

AT_ONCE = 5_000  # letters, or zips


class LetterActions(ReadOnlyAdmin):
    """Actions of the list of letters."""

    actions = ("cancel_chosen", "mark_failures_seen")

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Who may change letters acts on them, although no field is edited by hand."""
        return request.user.has_perm("letters.change_letter")

    @admin.action(description="Cancel letters that are not printed yet", permissions=["act"])
    def cancel_chosen(self, request: HttpRequest, queryset: QuerySet[Letter]) -> HttpResponse | None:
        """Say what cancelling does; after the answer, do it."""
        keys = list(queryset.order_by().values_list("pk", flat=True)[:AT_ONCE])
        if "confirmed" not in request.POST:
            context = self.admin_site.each_context(request) | {
                "title": f"Cancel {len(keys):,} {'letter' if len(keys) == 1 else 'letters'}?", "opts": self.opts,
                "keys": keys, "checkbox": ACTION_CHECKBOX_NAME,
            }  # fmt: skip
            return TemplateResponse(request, "admin/letters/letter/cancel.html", context)
        cancelled = cancel_letters(keys, now=timezone.now())
        for letter in Letter.objects.filter(pk__in=cancelled):
            self.log_change(request, letter, "Cancelled")
        self._say(
            request,
            len(cancelled),
            "cancelled",
            len(keys),
            "printed, past the deadline of their run, or cancelled already",
        )
        return None

    @admin.action(description="Mark failures as seen", permissions=["act"])
    def mark_failures_seen(self, request: HttpRequest, queryset: QuerySet[Letter]) -> None:
        """Note that a person has seen why these letters failed; the daily check no longer names them."""
        chosen = list(queryset.order_by().values_list("pk", flat=True)[:AT_ONCE])
        unseen = Letter.objects.failed_unseen().filter(pk__in=chosen)
        letters = list(unseen)
        now = timezone.now()
        seen = unseen.update(failure_seen_at=now)
        close_seen(now=now)
        for letter in letters:
            self.log_change(request, letter, "Technical failure seen")
        self._say(request, seen, "marked as seen", len(chosen), "not failed, or seen already")

    def _say(self, request: HttpRequest, done: int, what: str, chosen: int, why_not: str) -> None:
        words = f"{done:,} {'letter' if done == 1 else 'letters'} {what}."
        words += f" {chosen - done:,} left as they are: {why_not}." if done < chosen else ""
        self.message_user(request, words, messages.SUCCESS if done == chosen else messages.WARNING)


class ReasonForm(forms.Form):
    """Why a person vouches for zips."""

    reason = forms.CharField(
        max_length=200,
        widget=AdminTextInputWidget,
        help_text="How you know that the postal provider has them, such as whom you asked. It is kept with each zip.",
    )


class PrintFileActions(ReadOnlyAdmin):
    """Actions of the list of zips."""

    actions = ("mark_acknowledged",)

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Who may change zips acts on them, although no field is edited by hand."""
        return request.user.has_perm("letters.change_printfile")

    @admin.action(description="Mark as acknowledged", permissions=["act"])
    def mark_acknowledged(self, request: HttpRequest, queryset: QuerySet[PrintFile]) -> HttpResponse | None:
        """Ask why; after the answer, note it and close the alerts about these zips."""
        keys = list(queryset.order_by().values_list("pk", flat=True)[:AT_ONCE])
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            context = self.admin_site.each_context(request) | {
                "title": f"Mark {len(keys):,} {'zip' if len(keys) == 1 else 'zips'} as acknowledged?",
                "opts": self.opts, "keys": keys, "checkbox": ACTION_CHECKBOX_NAME, "form": form,
            }  # fmt: skip
            return TemplateResponse(request, "admin/letters/printfile/acknowledge.html", context)
        words = f"marked by {request.user}: {form.cleaned_data['reason']}"
        marked = mark_acknowledged(keys, words, now=timezone.now())
        for file in marked:
            self.log_change(request, file, f"Marked as acknowledged: {form.cleaned_data['reason']}")
        left = len(keys) - len(marked)
        told = f"{len(marked):,} {'zip' if len(marked) == 1 else 'zips'} marked as acknowledged."
        told += f" {left:,} left as they are: not handed over, or acknowledged already." if left else ""
        self.message_user(request, told, messages.WARNING if left else messages.SUCCESS)
        return None
