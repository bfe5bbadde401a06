"""The form of a switch policy: every figure within the range in which the rule makes sense."""

from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from providers.models import SwitchPolicy

THRESHOLD_RANGE = "THRESHOLD_RANGE: Write a number above 0 and up to 1, such as 0.2 for a fifth."
WINDOW_LIMIT = timedelta(days=1)  # of messages the rule looks at each minute
SETTLE_LIMIT = timedelta(days=1)  # a rule that is to rest for longer is switched off, or its providers are held
_CHANNELS = "Traffic is moved between SMS providers only; for email the health page and the backtest judge by it."
_WRITTEN = "Hours:minutes:seconds, such as 0:10:00."


class SwitchPolicyForm(forms.ModelForm):
    """When a provider counts as slow, and how traffic moves away."""

    threshold = forms.FloatField(
        initial=0.2,
        help_text=SwitchPolicy._meta.get_field("threshold").help_text,
        error_messages={"invalid": THRESHOLD_RANGE},
    )

    class Meta:
        model = SwitchPolicy
        fields = ("notification_type", "window", "slow_after", "threshold", "step", "settle_for", "minimum_sample")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["notification_type"].help_text = _CHANNELS
        for name in ("window", "slow_after", "settle_for"):
            self.fields[name].help_text += f" {_WRITTEN}"

    def clean_threshold(self) -> float:
        """Return the threshold: above 0, up to 1."""
        threshold = self.cleaned_data["threshold"]
        if not 0 < threshold <= 1:
            raise ValidationError(THRESHOLD_RANGE, code="THRESHOLD_RANGE")
        return threshold

    def clean_slow_after(self) -> timedelta:
        """Return when a message is slow: above nothing."""
        slow_after = self.cleaned_data["slow_after"]
        if slow_after <= timedelta(0):
            raise ValidationError("SLOW_AFTER_RANGE: Write a duration above nothing, such as 0:04:00.")
        return slow_after

    def clean_settle_for(self) -> timedelta:
        """Return how long nothing moves after a change: not negative, a day at most."""
        settle_for = self.cleaned_data["settle_for"]
        if not timedelta(0) <= settle_for <= SETTLE_LIMIT:
            raise ValidationError("SETTLE_RANGE: Write a duration from 0:00:00, which settles at once, to a day.")
        return settle_for

    def clean(self) -> dict[str, Any]:
        """Hold the window against what it has to show: a message can be slow only when it is old enough to be."""
        cleaned = super().clean() or self.cleaned_data
        window, slow_after = cleaned.get("window"), cleaned.get("slow_after")
        if window and slow_after and window < slow_after:
            self.add_error("window", "WINDOW_RANGE: The window must be at least as long as “slow after”.")
        if window and window > WINDOW_LIMIT:
            self.add_error("window", "WINDOW_RANGE: The window may be a day at most: every minute reads all of it.")
        return cleaned
