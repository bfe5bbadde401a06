"""Admin pages of providers and of what they reported."""

from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notify import crypto
from notify.admin_base import (
    FoundByMessage,
    NotifyAdmin,
    OwnFormFields,
    ReadOnlyAdmin,
    ReadOnlyInline,
    badge,
    object_link,
)
from providers import (
    admin_held,  # noqa: F401  (registers its page)
    admin_pause,  # noqa: F401  (registers its page)
)
from providers.forms import ProviderForm, SwitchPolicyForm, effective_share
from providers.models import Provider, ProviderChange, Receipt, SwitchPolicy


class ChangeInline(ReadOnlyInline):
    """The newest changes of a provider's share."""

    model = ProviderChange
    fields = readonly_fields = ("created_at", "share_before", "share_after", "reason", "changed_by")
    verbose_name_plural = "Changes of share, newest first (0: switched off)"
    classes = ("collapse",)


@admin.register(Provider)
class ProviderAdmin(OwnFormFields, NotifyAdmin):
    """Who carries messages."""

    form = ProviderForm
    form_only = tuple(ProviderForm.declared_fields)
    list_display = ("display_name", "identifier", "notification_type", "state", "share", "resting_share",
                    "held_until", "updated_at")  # fmt: skip
    list_filter = ("notification_type", "active")
    inlines = (ChangeInline,)
    empty_text = "No provider yet. Until one is added and switched on, messages wait."
    readonly_fields = ("held_until", "hold_reason", "secrets", "updated_at")
    fieldsets = (
        (None, {"fields": ("identifier", "display_name", "notification_type", "backend", "unknown_outcome")}),
        ("Traffic", {"fields": ("active", "share", "resting_share", "reason", "confirmation", "held_until",
                                "hold_reason", "updated_at")}),
        ("Connection", {"fields": ("url", "sender", "api_key")}),
        ("Receipts", {"fields": ("receipts", "receipt_user", "receipt_password", "secrets")}),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """Messages carry the identifier and belong to the channel: both stay."""
        fixed = ("identifier", "notification_type") if obj else ()
        return (*self.readonly_fields, *fixed)

    def save_model(self, request: HttpRequest, obj: Provider, form: ProviderForm, change: bool) -> None:
        """Store the provider, its configuration and, where traffic changes, who changed it and why."""
        obj.config, obj.updated_at = form.config(), timezone.now()
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if form.traffic_changes:
                ProviderChange.objects.create(
                    provider=obj,
                    share_before=form.before,
                    share_after=effective_share(obj),
                    reason=form.cleaned_data["reason"],
                    changed_by=request.user,
                    created_at=obj.updated_at,
                )

    @admin.display(description="state", ordering="active")
    def state(self, provider: Provider) -> SafeString:
        """Say whether it may carry messages."""
        return badge("on", "good") if provider.active else badge("off", "quiet")

    @admin.display(description="stored secrets")
    def secrets(self, provider: Provider) -> str:
        """Say which secrets are there, not what they are."""
        key = "an API key" if provider.config.get("api_key") else "no API key"
        passwords = len(provider.config.get("receipt_passwords", []))
        return f"{key}, {passwords} receipt password{'' if passwords == 1 else 's'}"


@admin.register(ProviderChange)
class ProviderChangeAdmin(ReadOnlyAdmin):
    """Every change of a share, by hand or by rule."""

    list_display = ("created_at", "provider", "share_before", "share_after", "reason", "changed_by")
    list_filter = ("provider",)
    list_select_related = ("provider", "changed_by")
    empty_text = "No share has been changed yet."


@admin.register(SwitchPolicy)
class SwitchPolicyAdmin(NotifyAdmin):
    """When traffic moves away from a slow provider."""

    form = SwitchPolicyForm
    list_display = ("notification_type", "window", "slow_after", "threshold", "step", "settle_for", "minimum_sample")
    empty_text = "No policy is stored, so the defaults hold: slow from 20 % over ten minutes."


@admin.register(Receipt)
class ReceiptAdmin(FoundByMessage, ReadOnlyAdmin):
    """What providers reported, newest first."""

    list_display = ("received_at", "provider", "reported", "code", "outcome", "message", "applied_at",
                    "times_received")  # fmt: skip
    list_filter = ("provider", "outcome", "reported")
    list_select_related = ("provider",)
    empty_text = "No receipts yet. Providers report here at /receipts/ once messages are on their way."
    fieldsets = (
        (None, {"fields": ("provider", "reported", "reason", "code", "outcome", "message", "times_received", "id")}),
        ("Times", {"fields": ("received_at", "occurred_at", "applied_at", "due_at")}),
        ("As it came", {"classes": ("collapse",), "fields": ("content_type", "shown_body")}),
    )

    @admin.display(description="message")
    def message(self, receipt: Receipt) -> SafeString | str:
        """Lead to the message it is about."""
        if not receipt.notification_id:
            return "–"
        return object_link(str(receipt.notification_id)[-12:], "notify_notification", receipt.notification_id)

    @admin.display(description="body")
    def shown_body(self, receipt: Receipt) -> str:
        """Show what the provider wrote."""
        try:
            return crypto.decrypt(receipt.body).decode("utf-8", errors="replace")
        except crypto.Unreadable:
            return "cannot be read: its key is not in ENCRYPTION_KEYS"
