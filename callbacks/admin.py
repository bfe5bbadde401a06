"""Admin pages of callbacks and the endpoints they go to."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from callbacks.forms import EndpointForm
from callbacks.models import Callback, Endpoint
from notify.admin_base import FoundByMessage, NotifyAdmin, OwnFormFields, ReadOnlyAdmin, badge, list_link, object_link
from notify.crypto import Unreadable

_TONES = {Callback.Status.PENDING: "busy", Callback.Status.DELIVERED: "good", Callback.Status.EXHAUSTED: "bad"}


@admin.register(Endpoint)
class EndpointAdmin(OwnFormFields, NotifyAdmin):
    """Where services want to be told."""

    form = EndpointForm
    form_only = ("token", "signing_secret")
    list_display = ("service", "url", "state", "failing_since")
    list_filter = ("active", "service")
    list_select_related = ("service",)
    search_fields = ("service__name", "url")
    readonly_fields = ("stored", "failing_since", "callbacks")
    written = ("service", "url", "active", "token", "signing_secret")
    empty_text = "No endpoint yet. A service without one is not told what became of its messages."

    def get_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        """A new endpoint has nothing to show yet."""
        return (*self.written, *(self.readonly_fields if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[str, ...]:
        """An endpoint stays with its service."""
        return (*self.readonly_fields, *(("service",) if obj else ()))

    def save_model(self, request: HttpRequest, obj: Endpoint, form: EndpointForm, change: bool) -> None:
        """Store the endpoint with the secrets that were given."""
        form.write_secrets(obj)
        super().save_model(request, obj, form, change)

    @admin.display(description="state", ordering="active")
    def state(self, endpoint: Endpoint) -> SafeString:
        """Say whether callbacks go there."""
        if not endpoint.active:
            return badge("off", "quiet")
        return badge("failing", "bad") if endpoint.failing_since else badge("on", "good")

    @admin.display(description="stored secrets")
    def stored(self, endpoint: Endpoint) -> str:
        """Say which secrets are there, not what they are."""
        try:
            count = len(endpoint.signing_secrets)
            token = "a bearer token" if endpoint.bearer_token else "no bearer token"
        except Unreadable:
            return "cannot be opened: put the missing key back into ENCRYPTION_KEYS, or enter both again"
        return f"{token}, {count} signing secret{'' if count == 1 else 's'}"

    @admin.display(description="see also")
    def callbacks(self, endpoint: Endpoint) -> SafeString:
        """Lead to what was sent there."""
        return list_link("Callbacks to this endpoint", "callbacks_callback", endpoint__id__exact=endpoint.pk)


@admin.register(Callback)
class CallbackAdmin(FoundByMessage, ReadOnlyAdmin):
    """What services were told, newest first."""

    list_display = ("created_at", "endpoint", "message", "notification_status", "shown_status", "attempts",
                    "last_status_code", "last_error", "due_at", "delivered_at")  # fmt: skip
    list_filter = ("status", "notification_status", "endpoint__service")
    list_select_related = ("endpoint__service",)
    empty_text = "No callbacks yet. One is written for each final status of a service that has an active endpoint."
    fieldsets = (
        (None, {"fields": ("endpoint", "message", "notification_status", "shown_status", "attempts",
                           "last_status_code", "last_error", "id")}),
        ("Times", {"fields": ("created_at", "due_at", "claimed_at", "delivered_at")}),
    )  # fmt: skip

    @admin.display(description="message")
    def message(self, callback: Callback) -> SafeString:
        """Lead to the message it is about."""
        return object_link(str(callback.notification_id)[-12:], "notify_notification", callback.notification_id)

    @admin.display(description="status")
    def shown_status(self, callback: Callback) -> SafeString:
        """Show where it stands."""
        return badge(callback.get_status_display(), _TONES[Callback.Status(callback.status)])
