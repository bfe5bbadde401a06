"""How long messages are kept, per service and channel: 3 to 90 days, and a question before anything goes sooner."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import connection, models, transaction
from django.db.models import Case, Count, Value, When
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from notify import deletion
from notify.admin_base import NotifyAdmin
from notify.models import DataRetention
from notify.schedule_forms import next_runs

TASK = "notify.delete_notifications_older_than_retention"
LOCK = 731_204_519  # held while one retention is edited; any number nobody else uses
_RANGE = "RETENTION_RANGE: 3 to 90 days can be kept. Write a whole number from 3 to 90."


class DataRetentionForm(forms.ModelForm):
    """The days kept. agreed: the days before, as the page showed them that asked; empty before anybody was asked."""

    agreed = forms.IntegerField(required=False, widget=forms.HiddenInput)
    days = forms.IntegerField(
        initial=7, min_value=3, max_value=90, help_text="Whole local days, and today. 3 to 90.",
        error_messages={"min_value": _RANGE, "max_value": _RANGE, "invalid": _RANGE},
    )  # fmt: skip

    class Meta:
        model = DataRetention
        fields = ("service", "notification_type", "days")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # How long these messages are kept without this change.
        self.days_before: int = self.instance.days if self.instance.pk else settings.RETENTION_DAYS

    def asks(self) -> bool:
        """True when messages would go sooner and nobody has agreed to that."""
        sooner = self.cleaned_data["days"] < self.days_before
        return sooner and self.cleaned_data.get("agreed") != self.days_before


@dataclass(frozen=True, slots=True)
class Going:
    """What the next run would delete. at_once: by status; with_job: those whose job has to be archived first."""

    runs_at: datetime | None
    at_once: Counter[str]
    with_job: Counter[str]
    anyway: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.at_once.total() + self.with_job.total()

    def rows(self) -> Iterator[tuple[str, int, int, int]]:
        """Give status, at once, with their job, both; the most first."""
        for status, number in (self.at_once + self.with_job).most_common():
            yield status, self.at_once[status], self.with_job[status], number


def going(retention: DataRetention, *, before: int, now: datetime) -> Going:
    """Count what deletion would find at its next run, by the very condition it uses.

    before: the days kept until now; what they would let go is counted in `anyway` too.
    """
    runs_at = next_run(now=now)
    moment = runs_at or now
    place = (retention.service_id, retention.notification_type)
    rows = deletion.finished(*place, before=deletion.cut_off(retention.days, now=moment))
    archived = Case(When(deletion.archived(retention.service_id), then=Value(True)), default=Value(False))
    counts = rows.values("status", archived=archived).annotate(messages=Count("pk")).order_by()
    found = {True: Counter[str](), False: Counter[str]()}
    for row in counts:
        found[row["archived"]][row["status"]] += row["messages"]
    anyway = deletion.finished(*place, before=deletion.cut_off(before, now=moment)).count()
    return Going(runs_at, found[True], found[False], anyway)


def next_run(*, now: datetime) -> datetime | None:
    """Return when deletion runs next by its schedule; None when it is switched off."""
    task = PeriodicTask.objects.filter(name=TASK, enabled=True, crontab__isnull=False).select_related("crontab").first()
    try:
        return next(next_runs(task.crontab, now=now)) if task else None
    except (ValueError, StopIteration):
        return None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Open a transaction in which nobody else edits a retention, so that what was agreed to is what is written."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield


@admin.register(DataRetention)
class DataRetentionAdmin(NotifyAdmin):
    """How long a service's messages of one channel are kept."""

    form = DataRetentionForm
    list_display = ("service", "notification_type", "days")
    list_display_links = ("service", "notification_type")
    list_filter = ("notification_type",)
    list_select_related = ("service",)
    search_fields = ("service__name",)
    ordering = ("service__name", "notification_type")
    fields = ("service", "notification_type", "days")
    empty_text = (
        "No service has a retention of its own: all messages are kept for the default number of days (RETENTION_DAYS)."
    )

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> tuple[str, ...]:
        """A retention stays with its service and channel; another one gets a row of its own."""
        return ("service", "notification_type") if obj else ()

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Save; before anything goes sooner, say how many messages and ask."""
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        with one_at_a_time():
            return self._question(request, object_id) or super().changeform_view(
                request, object_id, form_url, extra_context
            )

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> str:
        """Write into the history what was kept before and what is kept now."""
        before, days = form.days_before, form.cleaned_data["days"]
        was = f"{before} days (the default)" if add else f"{before} days"
        agreed = "; agreed that messages go sooner" if days < before else ""
        return f"Kept for {days} days, before that for {was}{agreed}."

    def _question(self, request: HttpRequest, object_id: str | None) -> HttpResponse | None:
        """Return the page that asks, where somebody has to be asked."""
        row = self.get_object(request, object_id) if object_id else None
        if object_id and row is None:
            return None
        allowed = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        if not allowed:
            return None
        form = self.get_form(request, row, change=bool(row))(request.POST, instance=row)
        if not form.is_valid() or not form.asks():
            return None
        before = form.days_before
        context = self.admin_site.each_context(request) | {
            "title": "Delete messages sooner?", "opts": self.opts, "retention": form.instance, "before": before,
            "going": going(form.instance, before=before, now=timezone.now()), "existing": row is not None,
            "given": [(name, value) for name, value in request.POST.items()
                      if name not in ("csrfmiddlewaretoken", "agreed")],
        }  # fmt: skip
        return TemplateResponse(request, "admin/notify/dataretention/shorten.html", context)
