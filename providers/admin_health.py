"""The page that shows how one provider did over the last hours: its speed, its traffic and its share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from notify.admin_base import local_time
from notify.models import Notification
from providers import health_charts as charts
from providers.backtest_words import minutes
from providers.health import CHANGES_SHOWN, MINUTE, SPANS, Bucket, Health, health
from providers.models import ProviderChange
from providers.switching import TENDED

NAMES = {1: "hour", 6: "6 hours", 24: "24 hours", 168: "7 days"}
DEFAULT = 6  # hours


class Event(NamedTuple):
    """A change of share; number: its mark in the charts, "" where the rule only went back towards rest."""

    number: str
    change: ProviderChange
    text: str


class HealthPages(admin.ModelAdmin):
    """Adds a provider's health page."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        view = self.admin_site.admin_view(self.health_view)
        return [path("<int:pk>/health/", view, name="providers_provider_health"), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Say whether the provider's page leads to it."""
        shown = context.get("original")
        has_health = shown is not None and shown.notification_type in Notification.SENT_BY_LOOP
        return super().render_change_form(request, context | {"has_health": has_health}, *args, **kwargs)

    @method_decorator(require_safe)
    def health_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the last hours; ?hours= is one of 1, 6, 24 and 168."""
        provider = self.get_queryset(request).defer("config").filter(pk=pk).first()
        if provider is None or not self.has_view_permission(request, provider):
            raise Http404("There is no such provider, or you may not see it.")
        if provider.notification_type not in Notification.SENT_BY_LOOP:
            raise Http404("Letters leave by the print run; their provider has no speed to show.")
        seen = health(provider, hours=_hours(request.GET.get("hours", str(DEFAULT))), now=timezone.now())
        return TemplateResponse(
            request, "admin/providers/provider/health.html",
            self.admin_site.each_context(request) | context_of(seen) | {"opts": self.opts},
        )  # fmt: skip


def context_of(seen: Health) -> dict[str, Any]:
    """Return what the template shows."""
    hours = round((seen.end - seen.start).total_seconds() / 3_600)
    found = events(seen.changes)
    marks = [(event.change.created_at, event.number, event.text) for event in reversed(found) if event.number]
    return {
        "title": f"{seen.provider}: the last {NAMES[hours]}", "seen": seen, "provider": seen.provider,
        "totals": seen.totals, "events": found, "hours": hours, "spans": NAMES.items(),
        "capped": len(found) == CHANGES_SHOWN,
        "judged_over": minutes(seen.judged_over), "window": minutes(seen.policy.window),
        "slow_after": minutes(seen.policy.slow_after),
        "threshold": f"{100 * seen.policy.threshold:g} %",
        "ratio": None if seen.totals.ratio is None else f"{seen.totals.ratio:.1%}",
        "rows": [one for one in reversed(seen.buckets) if one.sent],
        "slow_chart": _slow(seen, marks), "traffic_chart": _traffic(seen, marks), "share_chart": _share(seen, marks),
    }  # fmt: skip


def events(changes: Sequence[ProviderChange]) -> list[Event]:
    """Number the changes from the oldest on, but for the small steps back towards rest; newest first."""
    found, number = [], 0
    for change in reversed(changes):
        small = change.reason == TENDED
        number += not small
        text = f"{local_time(change.created_at)}: {change.share_before} → {change.share_after}, {change.reason}"
        found.append(Event("" if small else str(number), change, text))
    return found[::-1]


def _hours(text: str) -> int:
    if text not in map(str, SPANS):
        raise Http404(f"hours is one of {', '.join(map(str, SPANS))}.")
    return int(text)


def _slow(seen: Health, marks: Sequence[Any]) -> SafeString:
    """Draw how large a part was slow, on an axis that has room for the threshold."""
    ratios = [(moment, None if ratio is None else 100 * ratio) for moment, ratio in seen.ratios]
    worst = max((value for _, value in ratios if value is not None), default=0.0)
    frame = charts.Frame(seen.start, seen.end, min(100, charts.round_up(max(worst, 200 * seen.policy.threshold))),
                         unit=" %")  # fmt: skip
    threshold = 100 * seen.policy.threshold
    text = f"At its worst {worst:.0f} % of the messages were slow; the threshold is {threshold:g} %."
    level = charts.level(frame, threshold, f"threshold {threshold:g} %")
    title = f"Slow messages of {seen.provider} over time"
    return charts.chart("slow", title, text, frame, level, charts.line(frame, ratios, "slow"),
                        charts.events(frame, marks))  # fmt: skip


def _traffic(seen: Health, marks: Sequence[Any]) -> SafeString:
    """Draw the messages per minute, by what became of them."""
    per = seen.span / MINUTE
    top = charts.round_up(max((one.sent / per for one in seen.buckets), default=0) or 1)
    frame = charts.Frame(seen.start, seen.end, top, height=200)
    columns = [(one.at, _told(one), [("good", one.delivered / per), ("busy", one.on_the_way / per),
                                     ("bad", one.failed / per)]) for one in seen.buckets]  # fmt: skip
    totals = seen.totals
    text = f"{totals.sent:,} messages, of them {totals.delivered:,} delivered and {totals.failed:,} failed."
    title = f"Messages handed to {seen.provider} per minute"
    bars = charts.bars(frame, columns, seen.span)
    return charts.chart("traffic", title, text, frame, bars, charts.events(frame, marks))


def _share(seen: Health, marks: Sequence[Any]) -> SafeString:
    """Draw the share, which holds from one change to the next."""
    frame = charts.Frame(seen.start, seen.end, 100, height=140)
    text = f"{seen.shares[0][1]} at the start, {seen.shares[-1][1]} at the end, {len(seen.changes)} changes."
    title = f"Share of {seen.provider} over time"
    held = charts.steps(frame, seen.shares, "share", until=seen.now)
    return charts.chart("share", title, text, frame, held, charts.events(frame, marks))


def _told(one: Bucket) -> str:
    return (
        f"{local_time(one.at)}: {one.sent:,} sent, {one.delivered:,} delivered, {one.on_the_way:,} without a final "
        f"report, {one.failed:,} failed; {one.slow:,} slow"
    )
