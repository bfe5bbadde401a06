"""Admin pages of providers and of what they reported."""

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import connection, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notify import crypto
from notify.admin_base import (
    COUNTED,
    FoundByMessage,
    NotifyAdmin,
    OwnFormFields,
    ReadOnlyAdmin,
    ReadOnlyInline,
    badge,
    local_time,
    object_link,
)
from providers import (
    admin_held,  # noqa: F401  (registers its page)
    admin_pause,  # noqa: F401  (registers its page)
    manual,
)
from providers.admin_backtest import BacktestPages
from providers.admin_health import HealthPages
from providers.forms import ProviderForm, effective_share
from providers.models import Provider, ProviderChange, Receipt, SwitchPolicy
from providers.policy_form import SwitchPolicyForm
from providers.receipt_filters import OutcomeFilter, ReportedFilter
from providers.replaying import PutBack, put_back
from providers.tasks import apply_receipts


class ChangeInline(ReadOnlyInline):
    """The newest changes of a provider's share."""

    model = ProviderChange
    fields = readonly_fields = ("created_at", "share_before", "share_after", "reason", "changed_by")
    verbose_name_plural = "Changes of share, newest first (0: switched off)"
    classes = ("collapse",)


@admin.register(Provider)
class ProviderAdmin(HealthPages, OwnFormFields, NotifyAdmin):
    """Who carries messages."""

    form = ProviderForm
    form_only = tuple(ProviderForm.declared_fields)
    list_display = ("display_name", "identifier", "notification_type", "state", "share", "resting_share",
                    "held", "updated_at")  # fmt: skip
    list_filter = ("notification_type", "active")
    actions = ("release_hold",)
    inlines = (ChangeInline,)
    empty_text = "No provider yet. Until one is added and switched on, messages wait."
    readonly_fields = ("held", "hold_reason", "secrets", "updated_at")
    fieldsets = (
        (None, {"fields": ("identifier", "display_name", "notification_type", "backend", "unknown_outcome")}),
        ("Traffic", {"fields": ("held", "hold_reason", "active", "share", "resting_share", "reason", "hold",
                                "hold_until", "confirmation", "rate_limit", "updated_at", "seen")}),
        ("Connection", {"fields": ("url", "sender", "from_address", "api_key")}),
        ("Receipts", {"fields": ("receipts", "receipt_user", "receipt_password", "esp", "secrets")}),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """Messages carry the identifier and belong to the channel: both stay."""
        fixed = ("identifier", "notification_type") if obj else ()
        return (*self.readonly_fields, *fixed)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Provider | None:
        """Before a change, lock the channel: no rule and no second person changes a share until it is stored."""
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST" or not connection.in_atomic_block:
            return found
        return next(row for row in Provider.objects.locked(found.notification_type) if row.pk == found.pk)

    def save_model(self, request: HttpRequest, obj: Provider, form: ProviderForm, change: bool) -> None:
        """Store the provider, its configuration and, where traffic changes, who changed it, why and the hold."""
        config, obj.updated_at = form.config(), timezone.now()
        if config is not None:
            obj.config = config
        super().save_model(request, obj, form, change)
        if form.traffic_changes:
            manual.record_change(
                obj, before=form.before, after=effective_share(obj), reason=form.cleaned_data["reason"],
                held_until=form.held_until(), by=request.user, now=obj.updated_at,
            )  # fmt: skip

    @admin.action(description="Release the hold", permissions=["change"])
    def release_hold(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Let automatic rules change the shares of these channels again."""
        for kind in sorted(set(queryset.values_list("notification_type", flat=True))):
            with transaction.atomic():
                keys = manual.release_hold(kind)
                for provider in Provider.objects.filter(pk__in=keys):
                    self.log_change(request, provider, "Hold released.")
            if keys:
                self.message_user(request, f"The hold on {kind} is released: automatic rules apply again.")
            else:
                self.message_user(request, f"Already done: {kind} is not held.", messages.WARNING)

    @admin.display(description="held until")
    def held(self, provider: Provider) -> str:
        """Say how long automatic rules leave its share alone."""
        if not provider.is_held(timezone.now()):
            return "–"
        return "released by hand" if provider.held_until == manual.UNTIL_RELEASED else local_time(provider.held_until)

    @admin.display(description="state", ordering="active")
    def state(self, provider: Provider) -> SafeString:
        """Say whether it may carry messages."""
        return badge("on", "good") if provider.active else badge("off", "quiet")

    @admin.display(description="stored secrets")
    def secrets(self, provider: Provider) -> str:
        """Say which secrets are there, not what they are."""
        config = provider.opened_config()
        if config is None:
            return (
                "cannot be opened: a key is missing from ENCRYPTION_KEYS, or the value is damaged. Put the key back, "
                "or enter the connection and the receipt password again; what was stored before is then gone."
            )
        key = "an API key" if config.get("api_key") else "no API key"
        passwords = len(config.get("receipt_passwords", []))
        return f"{key}, {passwords} receipt password{'' if passwords == 1 else 's'}"


@admin.register(ProviderChange)
class ProviderChangeAdmin(ReadOnlyAdmin):
    """Every change of a share, by hand or by rule."""

    list_display = ("created_at", "provider", "share_before", "share_after", "reason", "changed_by")
    list_filter = ("provider",)
    list_select_related = ("provider", "changed_by")
    empty_text = "No share has been changed yet."


@admin.register(SwitchPolicy)
class SwitchPolicyAdmin(BacktestPages, NotifyAdmin):
    """When traffic moves away from a slow provider."""

    form = SwitchPolicyForm
    list_display = ("notification_type", "window", "slow_after", "threshold", "step", "settle_for", "minimum_sample")
    empty_text = "No policy is stored, so the defaults hold: slow from 20 % over ten minutes."


@admin.register(Receipt)
class ReceiptAdmin(FoundByMessage, ReadOnlyAdmin):
    """What providers reported, newest first."""

    list_display = ("received_at", "occurred_at", "provider", "reported", "code", "outcome", "message", "applied_at",
                    "times_received")  # fmt: skip
    list_filter = ("provider", OutcomeFilter, ReportedFilter)
    list_select_related = ("provider",)
    actions = ("apply_again",)
    empty_text = "No receipts yet. Providers report here at /receipts/ once messages are on their way."
    fieldsets = (
        (None, {"fields": ("provider", "reported", "reason", "code", "outcome", "message", "times_received", "id")}),
        ("Times", {"fields": ("received_at", "occurred_at", "applied_at", "due_at")}),
        ("As it came", {"classes": ("collapse",), "fields": ("content_type", "shown_body")}),
    )

    @admin.action(description="Apply again", permissions=["apply_again"])
    def apply_again(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Put the chosen receipts back, so that the loop reads and applies them again."""
        waiting = queryset.exclude(outcome__in=["applied", ""]).order_by("pk")
        chosen = Receipt.objects.filter(pk__in=list(waiting.values_list("pk", flat=True)[:COUNTED]))
        with transaction.atomic():
            done = sum(put_back(chosen, now=timezone.now()), PutBack())
            if done.total:
                LogEntry.objects.log_actions(request.user.pk, chosen, CHANGE, "Put back, to be applied again.")
                apply_receipts.delay_on_commit()
        if done.total:
            self.message_user(request, f"Put back: {done.total:,}. They are applied within a minute.")
        else:
            text = "Nothing was put back: these count already, or wait for their first reading."
            self.message_user(request, text, messages.WARNING)

    def has_apply_again_permission(self, request: HttpRequest) -> bool:
        """Who may change receipts may have them applied again."""
        return request.user.has_perm("providers.change_receipt")

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
