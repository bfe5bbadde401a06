"""Forms of providers: their credentials are written here and never shown again."""

from typing import Any

from django import forms

from providers.models import Provider, SwitchPolicy

_KEEP = "Leave empty to keep what is stored."


def secret_field(label: str, help_text: str) -> forms.CharField:
    """Return a field whose value is never rendered, not even after a mistake elsewhere in the form."""
    return forms.CharField(
        label=label,
        required=False,
        strip=True,
        help_text=help_text,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )


class ProviderForm(forms.ModelForm):
    """A provider, the parts of its configuration, and why its share changes."""

    url = forms.CharField(
        label="URL",
        required=False,
        max_length=2048,
        help_text="Where messages go; empty: the usual address.",
        widget=forms.TextInput(attrs={"size": 60}),
    )
    sender = forms.CharField(required=False, max_length=11, help_text="Shown to recipients; empty: the service's own.")
    receipt_user = forms.CharField(required=False, max_length=100, help_text="User name the provider reports with.")
    api_key = secret_field("API key", _KEEP)
    receipt_password = secret_field("New receipt password", f"{_KEEP} The one before stays valid for the change-over.")
    reason = forms.CharField(
        required=False,
        max_length=300,
        help_text="Required when the share changes, or it is switched on or off.",
        widget=forms.TextInput(attrs={"size": 60}),
    )
    confirmation = forms.CharField(
        required=False, max_length=50, help_text="Only for switching off the last provider of a channel."
    )

    SETTINGS = ("url", "sender", "receipt_user")

    class Meta:
        model = Provider
        fields = ("identifier", "display_name", "notification_type", "backend", "active", "share", "resting_share",
                  "unknown_outcome", "receipts")  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = effective_share(self.instance) if self.instance.pk else None
        self.initial = {name: self.instance.config.get(name, "") for name in self.SETTINGS} | self.initial

    @property
    def traffic_changes(self) -> bool:
        """True when a stored provider's share or its being switched on is about to change."""
        return self.before is not None and bool({"share", "active"} & set(self.changed_data))

    def clean(self) -> dict[str, Any]:
        """Ask for a reason, and keep the last provider of a channel on unless the person means it."""
        cleaned = super().clean() or self.cleaned_data
        if self.traffic_changes and not cleaned.get("reason"):
            self.add_error("reason", "PROVIDER_REASON: Say why the share or the switch changes.")
        if self._is_last(cleaned) and cleaned.get("confirmation") != self.instance.identifier:
            self.add_error(
                "confirmation",
                "LAST_PROVIDER: No other provider of this channel is on, so its messages would wait. "
                f"To do it all the same, type {self.instance.identifier} here.",
            )
        return cleaned

    def config(self) -> dict[str, Any]:
        """Return the configuration to store: what was left empty among the secrets stays as it is."""
        stored, given = dict(self.instance.config), self.cleaned_data
        stored |= {name: given[name] for name in self.SETTINGS}
        if given["api_key"]:
            stored["api_key"] = given["api_key"]
        if given["receipt_password"]:
            stored["receipt_passwords"] = [given["receipt_password"], *stored.get("receipt_passwords", [])][:2]
        return stored

    def _is_last(self, cleaned: dict[str, Any]) -> bool:
        if self.before is None or cleaned.get("active") or "active" not in self.changed_data:
            return False
        others = Provider.objects.carrying(self.instance.notification_type).exclude(pk=self.instance.pk)
        return not others.exists()


def effective_share(provider: Provider) -> int:
    """Return the share that counts: none while a provider is switched off."""
    return provider.share if provider.active else 0


class SwitchPolicyForm(forms.ModelForm):
    """When a provider counts as slow."""

    class Meta:
        model = SwitchPolicy
        fields = ("notification_type", "window", "slow_after", "threshold", "step", "settle_for", "minimum_sample")

    def clean_threshold(self) -> float:
        """Return the threshold: above 0, up to 1."""
        threshold = self.cleaned_data["threshold"]
        if not 0 < threshold <= 1:
            raise forms.ValidationError(
                "THRESHOLD_RANGE: Write a number above 0 and up to 1, such as 0.2 for a fifth.", code="THRESHOLD_RANGE"
            )
        return threshold
