"""Forms of providers: their credentials are written here and never shown again."""

from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminSplitDateTime
from django.db import models
from django.utils import timezone
from django.utils.module_loading import import_string
from django.utils.timesince import timesince

from notify.clock import zone
from providers import esp
from providers.manual import UNTIL_RELEASED
from providers.models import Provider

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


class Hold(models.TextChoices):
    """How long a change by hand keeps automatic rules away."""

    UNTIL = "until", "Hold until the time below"
    RELEASED = "released", "Hold until somebody releases it"
    NONE = "none", "No hold"


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
    from_address = forms.EmailField(
        required=False, help_text="Of emails; empty: the address of this installation (DEFAULT_FROM_EMAIL)."
    )
    esp = forms.ChoiceField(
        label="Reports of",
        required=False,
        choices=lambda: [("", "–"), *((name, name) for name in sorted(esp.views()))],
        help_text="Whose delivery reports come to the email receipt address that names no provider.",
    )
    api_key = secret_field("API key", _KEEP)
    receipt_password = secret_field("New receipt password", f"{_KEEP} The one before stays valid for the change-over.")
    reason = forms.CharField(
        required=False,
        max_length=300,
        help_text="Required when the share changes, or it is switched on or off.",
        widget=forms.TextInput(attrs={"size": 60}),
    )
    hold = forms.ChoiceField(
        required=False,
        choices=Hold.choices,
        initial=Hold.UNTIL,
        help_text="When the share or the switch changes, every provider of the channel is held: no rule changes its "
        "share meanwhile. No hold also ends the one that is on.",
        widget=forms.RadioSelect,
    )
    hold_until = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)  # the traffic this form was opened with
    confirmation = forms.CharField(
        required=False, max_length=50, help_text="Only for switching off the last provider of a channel."
    )

    SETTINGS = ("url", "sender", "from_address", "esp", "receipt_user")

    class Meta:
        model = Provider
        fields = ("identifier", "display_name", "notification_type", "backend", "active", "share", "resting_share",
                  "rate_limit", "unknown_outcome", "receipts")  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = effective_share(self.instance) if self.instance.pk else None
        self.traffic = f"{self.instance.share} {self.instance.active}"
        self.stored = self.instance.opened_config()
        stored = {name: (self.stored or {}).get(name, "") for name in self.SETTINGS}
        self.initial = stored | {"seen": self.traffic} | self.initial
        if "hold_until" in self.fields:
            usual = timesince(timezone.now() - settings.PROVIDER_HELD_FOR)
            self.fields["hold_until"].help_text = f"{settings.NOTIFY_TIME_ZONE} time; empty: for {usual}."

    @property
    def traffic_changes(self) -> bool:
        """True when a stored provider's share or its being switched on is about to change."""
        return self.before is not None and bool({"share", "active"} & set(self.changed_data))

    def clean(self) -> dict[str, Any]:
        """Ask for a reason, refuse what was overtaken, and keep a channel's last provider on unless that is meant."""
        cleaned = super().clean() or self.cleaned_data
        if self.instance.pk and cleaned.get("seen") and cleaned["seen"] != self.traffic:
            self.add_error(
                None,
                f"PROVIDER_CHANGED: The share or the switch was changed after this page was opened: it is now "
                f"{self.before}. Nothing was saved; open the page again and decide anew.",
            )
        self._check_hold(cleaned)
        self._check_channel(cleaned)
        if self.traffic_changes and not cleaned.get("reason"):
            self.add_error("reason", "PROVIDER_REASON: Say why the share or the switch changes.")
        if self._is_last(cleaned) and cleaned.get("confirmation") != self.instance.identifier:
            self.add_error(
                "confirmation",
                "LAST_PROVIDER: No other provider of this channel is on, so its messages would wait. "
                f"To do it all the same, type {self.instance.identifier} here.",
            )
        return cleaned

    def config(self) -> dict[str, Any] | None:
        """Return the configuration to store: what was left empty among the secrets stays as it is.

        None where what is stored cannot be opened and nothing of it was entered anew: a key may be put back later.
        """
        given = self.cleaned_data
        if self.stored is None and not any(given[name] for name in (*self.SETTINGS, "api_key", "receipt_password")):
            return None
        stored = dict(self.stored or {})
        stored |= {name: given[name] for name in self.SETTINGS}
        if given["api_key"]:
            stored["api_key"] = given["api_key"]
        if given["receipt_password"]:
            stored["receipt_passwords"] = [given["receipt_password"], *stored.get("receipt_passwords", [])][:2]
        return stored

    def held_until(self) -> datetime | None:
        """Return when the hold of this change ends (aware, UTC); None for no hold."""
        chosen = self.cleaned_data["hold"] or Hold.UNTIL
        if chosen == Hold.UNTIL:
            return self.cleaned_data["hold_until"] or timezone.now() + settings.PROVIDER_HELD_FOR
        return UNTIL_RELEASED if chosen == Hold.RELEASED else None

    def _check_hold(self, cleaned: dict[str, Any]) -> None:
        asked = (cleaned.get("hold") or Hold.UNTIL) == Hold.UNTIL and self.traffic_changes
        until = cleaned.get("hold_until")
        if asked and until and until <= timezone.now():
            self.add_error("hold_until", f"HOLD_PAST: This time has passed ({zone()} time); choose a later one.")
        if asked and until and until >= UNTIL_RELEASED:  # in UTC it may be after the last date there is
            self.add_error("hold_until", f"HOLD_FAR: For a hold without an end choose “{Hold.RELEASED.label}”.")

    def _check_channel(self, cleaned: dict[str, Any]) -> None:
        """A backend carries one channel; with another's it would put every message off, then fail it."""
        kind, backend = cleaned.get("notification_type") or self.instance.notification_type, cleaned.get("backend")
        if backend and kind != import_string(backend).notification_type:
            self.add_error("backend", f"PROVIDER_CHANNEL: This backend does not carry {kind}; choose one that does.")

    def _is_last(self, cleaned: dict[str, Any]) -> bool:
        if self.before is None or cleaned.get("active") or "active" not in self.changed_data:
            return False
        others = Provider.objects.carrying(self.instance.notification_type).exclude(pk=self.instance.pk)
        return not others.exists()


def effective_share(provider: Provider) -> int:
    """Return the share that counts: none while a provider is switched off."""
    return provider.share if provider.active else 0
