"""The parameters of a replay, checked once for the command and the admin. What is left out comes from the policy."""

from datetime import timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from notify.models import NotificationType
from providers.backtest import LONGEST
from providers.models import SwitchPolicy
from providers.policy_form import THRESHOLD_RANGE, WINDOW_LIMIT
from providers.switching import policy_of

CHANNELS = [(kind.value, kind.label) for kind in (NotificationType.SMS, NotificationType.EMAIL)]
LONGEST_MINUTES = int(WINDOW_LIMIT.total_seconds() / 60)


class ThresholdField(forms.FloatField):
    """A part of one: above 0, up to 1. Not a percentage, and no NaN."""

    default_error_messages = {"invalid": THRESHOLD_RANGE}

    def validate(self, value: float | None) -> None:
        """Refuse what is out of range, what is no number included."""
        super().validate(value)
        if value is not None and not 0 < value <= 1:
            raise forms.ValidationError(THRESHOLD_RANGE, code="invalid")


def _minutes(label: str, help_text: str, *, least: float) -> forms.FloatField:
    return forms.FloatField(
        label=label,
        required=False,
        help_text=help_text,
        validators=[MinValueValidator(least), MaxValueValidator(LONGEST_MINUTES)],
    )


class BacktestForm(forms.Form):
    """Which days are replayed, with which rule."""

    type = forms.ChoiceField(label="Channel", choices=CHANNELS, initial=NotificationType.SMS)
    days = forms.IntegerField(
        initial=7, validators=[MinValueValidator(1), MaxValueValidator(LONGEST)], help_text="Of 24 hours, up to now."
    )
    threshold = ThresholdField(
        required=False,
        help_text="Slow ÷ all from which a provider is slow: 0.2 is a fifth.",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),  # a number's widget would not show what was refused
    )
    step = forms.IntegerField(
        required=False,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Points of share moved at a time; 100: all at once.",
    )
    window_minutes = _minutes("Window", "Minutes: messages sent this recently are looked at.", least=0.5)
    slow_after_minutes = _minutes("Slow after", "Minutes: a message slower than this is slow.", least=0.1)
    settle_minutes = _minutes("Settle for", "Minutes: nothing moves this long after a change.", least=0)
    minimum_sample = forms.IntegerField(
        required=False,
        validators=[MinValueValidator(1), MaxValueValidator(1_000_000)],
        help_text="Fewer messages than this decide nothing.",
    )

    def clean(self) -> dict[str, Any]:
        """Make the policy that is tried; a window in which nothing can be slow is refused."""
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        self.policy = tried(cleaned)
        slow_after = self.policy.slow_after
        if not slow_after <= self.policy.window <= WINDOW_LIMIT:
            self.add_error(
                "window_minutes",
                f"WINDOW_RANGE: Make it at least as long as “slow after”, {slow_after.total_seconds() / 60:g} minutes, "
                f"so that a message can be seen as slow in it, and at most a day ({LONGEST_MINUTES:,} minutes).",
            )
        return cleaned


def tried(asked: dict[str, Any]) -> SwitchPolicy:
    """Return the channel's policy, unsaved, with what is asked for in its place."""
    policy = policy_of(asked["type"])
    for name in ("threshold", "step", "minimum_sample"):
        if asked.get(name) is not None:
            setattr(policy, name, asked[name])
    for name, field in (("window", "window_minutes"), ("slow_after", "slow_after_minutes"),
                        ("settle_for", "settle_minutes")):  # fmt: skip
        if asked.get(field) is not None:
            setattr(policy, name, timedelta(minutes=asked[field]))
    return policy


def asked_by(policy: SwitchPolicy) -> dict[str, Any]:
    """Return the form's values of a policy."""
    minutes = {
        f"{name}_minutes": f"{value.total_seconds() / 60:g}"
        for name, value in (("window", policy.window), ("slow_after", policy.slow_after), ("settle", policy.settle_for))
    }
    names = ("threshold", "step", "minimum_sample")
    return {"type": policy.notification_type} | {name: getattr(policy, name) for name in names} | minutes
