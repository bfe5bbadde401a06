"""The form of a callback endpoint: its token and signing secrets are written here and never shown again."""

import base64
import binascii
import secrets
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django import forms
from django.conf import settings

from callbacks.models import Endpoint
from notify.crypto import Unreadable

PREFIX = "whsec_"
PORTS = (443, 8443)
SECRET_BYTES = (24, 64)  # fewest and most. Source: Standard Webhooks, signature scheme


def new_secret() -> str:
    """Make a signing secret as Standard Webhooks writes it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


class EndpointForm(forms.ModelForm):
    """An endpoint with its secrets. A new signing secret is offered; the one before stays valid beside it."""

    url = forms.URLField(label="URL", max_length=2048, assume_scheme="https", widget=forms.URLInput(attrs={"size": 80}))
    token = forms.CharField(
        label="Bearer token",
        required=False,
        max_length=500,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    signing_secret = forms.CharField(
        required=False, widget=forms.TextInput(attrs={"size": 60, "autocomplete": "off", "spellcheck": "false"})
    )

    class Meta:
        model = Endpoint
        fields = ("service", "url", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        token, secret = self.fields["token"], self.fields["signing_secret"]
        if self.instance.pk:
            token.help_text = "Leave empty to keep what is stored."
            secret.help_text = (
                f"Leave empty to keep what is stored. A new one, for example {new_secret()}, is used beside the newest "
                "one before until the next change. Pass it on now: it is not shown again."
            )
        else:
            token.required = True
            token.help_text = "Sent with every callback, so that the service knows it is us."
            secret.initial = new_secret
            secret.help_text = "Made for you. Pass it on to the service now: it is not shown again."

    def clean_url(self) -> str:
        """Return an address that may be called; one of the trusted targets may use any scheme and port."""
        url = self.cleaned_data["url"]
        parts = urlsplit(url)
        port = _port(parts)
        if parts.username is not None or parts.password is not None:
            raise forms.ValidationError("CALLBACK_URL_USERINFO: Leave user name and password out of the address.")
        if parts.fragment or "\\" in url:
            raise forms.ValidationError("CALLBACK_URL_MALFORMED: Leave out what follows #, and backslashes.")
        if f"{parts.hostname}:{port}" in settings.CALLBACK_TRUSTED_TARGETS:
            return url
        if parts.scheme != "https":
            raise forms.ValidationError("CALLBACK_URL_SCHEME: The address must begin with https://.")
        if port not in PORTS:
            raise forms.ValidationError("CALLBACK_URL_PORT: Use port 443 or 8443.")
        return url

    def clean_signing_secret(self) -> str:
        """Return the secret when receivers' libraries can read it."""
        secret = self.cleaned_data["signing_secret"]
        if secret and not _readable(secret):
            low, high = SECRET_BYTES
            raise forms.ValidationError(
                f"SIGNING_SECRET: Write {PREFIX} and then {low} to {high} bytes in base64, or take the one offered."
            )
        return secret

    def clean(self) -> dict[str, Any]:
        """Refuse a second active endpoint of a service."""
        cleaned = super().clean() or self.cleaned_data
        service = cleaned.get("service") or getattr(self.instance, "service", None)
        others = Endpoint.objects.filter(service=service, active=True).exclude(pk=self.instance.pk)
        if service and cleaned.get("active") and others.exists():
            self.add_error(
                "active", f"DUPLICATE_ENDPOINT: {service} has an active endpoint. Switch that one off first."
            )
        return cleaned

    def write_secrets(self, endpoint: Endpoint) -> None:
        """Put the given secrets into the endpoint; what was left empty stays as it is."""
        token, secret = self.cleaned_data["token"], self.cleaned_data["signing_secret"]
        if token:
            endpoint.bearer_token = token
        if secret:
            try:
                before = endpoint.signing_secrets
            except Unreadable:  # it signs nothing any more; the new one alone does
                before = []
            endpoint.signing_secrets = [secret, *before][:2]


def _port(parts: SplitResult) -> int | None:
    """Return the port an address means, None when it is no port."""
    try:
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def _readable(secret: str) -> bool:
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        return False
    return secret.startswith(PREFIX) and SECRET_BYTES[0] <= size <= SECRET_BYTES[1]
