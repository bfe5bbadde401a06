"""The page that tries a switch policy on stored history. It only reads, and no more than fits a page view."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from notify.admin_base import local_time
from providers import health_charts as charts
from providers.backtest import backtest, messages_since, note_on_retention
from providers.backtest_form import CHANNELS, BacktestForm, asked_by
from providers.backtest_words import LIMITS, described, summary
from providers.replay import Replay
from providers.switching import policy_of

DAYS = 7  # at most, in the admin; the command goes further
MESSAGES = 500_000  # that a page view replays; more is the command's
TONES = ("share", "other", "third", "fourth")  # of curves, by provider


class BacktestPages(admin.ModelAdmin):
    """Adds the page to the policies."""

    def get_urls(self) -> list[URLPattern]:
        """Add the page."""
        view = self.admin_site.admin_view(self.backtest_view)
        return [path("backtest/", view, name="providers_switchpolicy_backtest"), *super().get_urls()]

    @method_decorator(require_safe)
    def backtest_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, filled from the policy in force or with what was asked, and below it the answer."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked, values = "days" in request.GET, _in_force(request)
        given = {name: text for name, text in request.GET.items() if text.strip()}
        form = AdminBacktestForm(values | given) if asked else AdminBacktestForm(initial=values)
        replay = _replayed(form) if asked and form.is_valid() else None
        context = self.admin_site.each_context(request) | {
            "title": "Try a policy on stored history", "opts": self.opts, "form": form, "limits": LIMITS,
        }  # fmt: skip
        if replay:
            note = note_on_retention(replay.policy.notification_type, form.cleaned_data["days"])
            context |= context_of(replay) | {"note": note}
        return TemplateResponse(request, "admin/providers/switchpolicy/backtest.html", context)


class AdminBacktestForm(BacktestForm):
    """The command's form, for a time that a page view can read."""

    def clean_days(self) -> int:
        """Refuse what is the command's."""
        days = self.cleaned_data["days"]
        if days > DAYS:
            self.add_error("days", f"Here at most {DAYS}; for more use manage.py backtest_policy --days {days}.")
        return days

    def clean(self) -> dict[str, Any]:
        """Refuse more messages than a page view reads; counting stops there too."""
        cleaned = super().clean()
        if not self.errors:
            start = timezone.now() - timedelta(days=cleaned["days"])
            if messages_since(cleaned["type"], start, limit=MESSAGES) > MESSAGES:
                self.add_error(
                    "days", f"More than {MESSAGES:,} messages were sent. Choose fewer days, or use "
                    f"manage.py backtest_policy --days {cleaned['days']}.",
                )  # fmt: skip
        return cleaned


def context_of(replay: Replay) -> dict[str, Any]:
    """Return what the template shows of a replay."""
    tones = {name: TONES[place % len(TONES)] for place, name in enumerate(replay.curves)}
    switches = [
        (str(number), switch, ", ".join(f"{name} {share}" for name, share in switch.shares.items()))
        for number, switch in enumerate(replay.switches, start=1)
    ]
    marks = [(one.at, number, f"{local_time(one.at)}: away from {one.described}") for number, one, _ in switches]
    return {
        "replay": replay, "described": described(replay), "summary": summary(replay), "switches": switches,
        "tones": tones.items(), "slow_chart": _slow(replay, tones, marks),
        "share_chart": _shares(replay, tones, marks),
    }  # fmt: skip


def _in_force(request: HttpRequest) -> dict[str, Any]:
    """Fill the form from the policy of the channel that is asked for, so that every value used is seen."""
    kind = request.GET.get("type", "")
    return asked_by(policy_of(kind if kind in dict(CHANNELS) else CHANNELS[0][0])) | {"days": DAYS}


def _replayed(form: AdminBacktestForm) -> Replay:
    return backtest(form.policy, days=form.cleaned_data["days"], now=timezone.now())


def _slow(replay: Replay, tones: dict[str, str], marks: list[tuple]) -> SafeString:
    threshold = 100 * replay.policy.threshold
    ratios = [100 * point.ratio for points in replay.curves.values() for point in points if point.ratio is not None]
    worst = max(ratios, default=0.0)
    frame = charts.Frame(replay.start, replay.end, min(100, charts.round_up(max(worst, 2 * threshold))), unit=" %")
    lines = [
        charts.line(frame, [(point.at, None if point.ratio is None else 100 * point.ratio) for point in points],
                    tones[name])
        for name, points in replay.curves.items()
    ]  # fmt: skip
    text = f"At its worst {worst:.0f} % of a provider's messages were slow; the threshold is {threshold:g} %."
    level = charts.level(frame, threshold, f"threshold {threshold:g} %")
    return charts.chart("slow", "Slow messages by provider, as really sent", text, frame, level, *lines,
                        charts.events(frame, marks))  # fmt: skip


def _shares(replay: Replay, tones: dict[str, str], marks: list[tuple]) -> SafeString:
    frame = charts.Frame(replay.start, replay.end, 100, unit=" %", height=140)
    lines = [
        charts.steps(frame, [(point.at, point.share) for point in points], tones[name])
        for name, points in replay.curves.items()
    ]
    text = f"{len(replay.switches)} switches, {replay.flaps} of them back within an hour."
    return charts.chart("share", "Part of the traffic by provider, in the replay", text, frame, *lines,
                        charts.events(frame, marks))  # fmt: skip
