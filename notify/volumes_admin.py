"""The day's totals in the admin: the list, and the page of volumes with charts, shares and CSV."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from notify import volumes
from notify.admin_base import ReadOnlyAdmin
from notify.charts import Series, bar_chart, line_chart, percent
from notify.clock import local_date
from notify.models import DailyTotal, NotificationType, Service

DAYS, DAYS_LIMIT = 30, 366  # looked at unless asked otherwise, and at most


class ServiceField(forms.ModelChoiceField):
    """A service, or all; whatever is no service's key is told the same way."""

    def to_python(self, value: Any) -> Service | None:
        """Return the service with this key."""
        try:
            return super().to_python(value)
        except forms.ValidationError as error:
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice") from error


class PeriodForm(forms.Form):
    """Which volumes to show. Without any dates: the last DAYS local days that are over."""

    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    last = forms.DateField(label="To", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"))
    service = ServiceField(
        Service.objects.order_by("name"), required=False, empty_label="All services",
        error_messages={"invalid_choice": "There is no such service. Choose one of the list."},
    )  # fmt: skip
    channel = forms.ChoiceField(
        choices=[("", "All channels"), *NotificationType.choices], required=False,
        error_messages={"invalid_choice": "There is no such channel. Choose one of the list."},
    )  # fmt: skip

    def __init__(self, given: Any, *, today: date) -> None:
        usual = {"first": today - timedelta(days=DAYS), "last": today - timedelta(days=1)}
        usual = {name: day.isoformat() for name, day in usual.items()}
        super().__init__(usual | {name: given.get(name, "") for name in given if name in self.base_fields})
        for name in ("first", "last"):
            self.fields[name].error_messages |= {
                "invalid": "This is no date. Write it like 2026-11-24.",
                "required": "Choose a day, such as 2026-11-24.",
            }

    def clean(self) -> dict[str, Any]:
        """Hold the two dates against each other."""
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("first"), cleaned.get("last")
        if first and last:
            if first > last:
                self.add_error("first", f"{first} is after {last}. Swap the two dates.")
            elif (days := (last - first).days + 1) > DAYS_LIMIT:
                self.add_error("first", f"{days:,} days are too many; {DAYS_LIMIT} fit. Choose a later first day.")
        return cleaned

    def period(self) -> volumes.Period:
        """Return what was asked for; only of a form that is valid."""
        service = self.cleaned_data["service"]
        return volumes.Period(
            self.cleaned_data["first"], self.cleaned_data["last"], service.pk if service else None,
            self.cleaned_data["channel"],
        )  # fmt: skip


@admin.register(DailyTotal)
class DailyTotalAdmin(ReadOnlyAdmin):
    """A day's messages, counted by outcome."""

    list_display = ("day", "service", "notification_type", "messages", "quick")
    list_filter = ("notification_type", "service")
    list_select_related = ("service",)
    empty_text = "No totals yet. A day's messages are counted in the night after it."

    @admin.display(description="messages")
    def messages(self, total: DailyTotal) -> str:
        """Add up the counts."""
        return f"{sum(total.counts.values()):,}"

    @admin.display(description="sent within ten seconds", ordering="sent_within_ten_seconds")
    def quick(self, total: DailyTotal) -> str:
        """Write the number as the others; letters leave by the day's print run."""
        letters = total.notification_type == NotificationType.LETTER
        return "–" if letters else f"{total.sent_within_ten_seconds:,}"

    def get_urls(self) -> list[URLPattern]:
        """Add the page of volumes and its CSV."""
        wrap = self.admin_site.admin_view
        return [
            path("volumes/", wrap(self.volumes_view), name="notify_dailytotal_volumes"),
            path("volumes/csv/", wrap(self.csv_view), name="notify_dailytotal_volumes_csv"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def volumes_view(self, request: HttpRequest) -> HttpResponse:
        """Show what was sent, how much of it arrived, and how quickly it left."""
        form = self._form(request)
        context = self.admin_site.each_context(request) | {"title": "Volumes", "opts": self.opts, "form": form}
        if form.is_valid():
            context |= _shown(form.period())
            context["csv_url"] = reverse("admin:notify_dailytotal_volumes_csv", query=_query(form))
        return TemplateResponse(request, "admin/notify/volumes.html", context)

    @method_decorator(require_safe)
    def csv_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Stream the same totals as CSV; with dates that cannot be read, the page with the reason instead."""
        form = self._form(request)
        if not form.is_valid():
            return self.volumes_view(request)
        period = form.period()
        answer = StreamingHttpResponse(volumes.csv_lines(period), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="volumes-{period.first}-{period.last}.csv"'
        return answer

    def _form(self, request: HttpRequest) -> PeriodForm:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return PeriodForm(request.GET, today=local_date(timezone.now()))


def _query(form: PeriodForm) -> dict[str, str]:
    return {name: form.data[name] for name in form.fields if form.data.get(name)}


def _shown(period: volumes.Period) -> dict[str, Any]:
    """Return what the page shows of a period, in three queries however long it is."""
    by_day = volumes.by_day_and_channel(period)
    lines = volumes.by_day_and_service(period)
    services = [
        (name, _facts(rows)) for name, rows in _grouped(volumes.by_service_and_channel(period), "service").items()
    ]
    own = _grouped(by_day, "channel")
    channels = [(label, _facts(own[value])) for value, label in NotificationType.choices if value in own]
    services.sort(key=lambda row: -row[1]["counted"].messages)
    return {
        "found": bool(by_day),
        "whole": _facts(by_day),
        "charts": _charts(period, by_day) if by_day else [],
        "tables": [("Channel", channels), ("Service", services[: volumes.LINES_SHOWN])],
        "lines": [(line, _facts([line])) for line in lines[: volumes.LINES_SHOWN]],
        "more_lines": len(lines) > volumes.LINES_SHOWN,
        "more_services": max(0, len(services) - volumes.LINES_SHOWN),
    }


def _facts(lines: list[volumes.Line]) -> dict[str, Any]:
    counted = volumes.added_up(lines)
    rate, quick = counted.delivery_rate, counted.quick_share
    return {
        "counted": counted,
        "delivery_rate": "–" if rate is None else percent(rate),
        "quick_share": "–" if quick is None else percent(quick),
        "channel": NotificationType(lines[0].channel).label if lines else "",
    }


def _grouped(lines: list[volumes.Line], key: str) -> dict[str, list[volumes.Line]]:
    found: dict[str, list[volumes.Line]] = {}
    for line in lines:
        found.setdefault(getattr(line, key), []).append(line)
    return found


def _charts(period: volumes.Period, lines: list[volumes.Line]) -> list[SafeString]:
    """Draw the days; a day without a total has none, which is not the same as a share of nothing."""
    days = [period.first + timedelta(days=ahead) for ahead in range((period.last - period.first).days + 1)]
    labels = [f"{day:%-d %b %Y}" if len(days) > 180 else f"{day:%-d %b}" for day in days]
    by_key = {(line.day, line.channel): line.counted for line in lines}
    channels = [(value, label) for value, label in NotificationType.choices if any(key[1] == value for key in by_key)]
    none = volumes.Counted()

    def series(value_of: Any) -> list[Series]:
        drawn = [
            Series(
                label, [value_of(by_key.get((day, value), none)) for day in days], NotificationType.values.index(value)
            )
            for value, label in channels
        ]
        return [one for one in drawn if any(value is not None for value in one.values)]

    charts = [bar_chart(series(lambda counted: counted.messages), labels=labels, title="Messages by day")]
    for title, share in (
        ("Delivery rate by day", series(lambda counted: counted.delivery_rate)),
        ("Sent within ten seconds by day", series(lambda counted: counted.quick_share)),
    ):
        if share:
            charts.append(line_chart(share, labels=labels, title=title, shown=percent, top=1.0))
    return charts
