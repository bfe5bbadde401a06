"""What a service is told: built and encrypted when the status changes, with address and token in it."""

import json
from typing import Any

from callbacks.models import Endpoint
from notify import crypto
from notify.clock import iso
from notify.fields import Sealed
from notify.models import Notification

# The columns of a notification that go into a callback.
READ = ("pk", "service_id", "template_id", "template_version", "notification_type", "recipient", "client_reference",
        "status", "created_at", "sent_at", "updated_at")  # fmt: skip

_RECIPIENT = Notification._meta.get_field("recipient")
# One encoder for all rows: json.dumps would build one at each call.
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def seal_payload(notification: Any, endpoint: Endpoint) -> bytes:
    """Return the encrypted callback: body, address and token as they are now.

    notification: a Notification, or a named row of its READ columns as values_list() gives it. A token whose key is
    lost is left None for the delivery to look up: one endpoint's trouble must not take back everybody's changes.
    """
    sealed = {"url": endpoint.url, "token": readable_token(endpoint), "body": body(notification)}
    return crypto.encrypt(_to_json(sealed).encode())


def open_payload(payload: bytes) -> dict[str, Any]:
    """Return url, token and body of a sealed callback; raises crypto.Unreadable."""
    return json.loads(crypto.decrypt(payload))


def readable_token(endpoint: Endpoint) -> str | None:
    """Return the endpoint's bearer token, or None where its key is lost."""
    try:
        return endpoint.bearer_token
    except crypto.Unreadable:
        return None


def body(notification: Any) -> dict[str, Any]:
    """Return what the service reads, times in UTC; completed_at is the moment of the final status."""
    return {
        "id": str(notification.pk),
        "reference": notification.client_reference or None,
        "to": _recipient(notification),
        "status": notification.status,
        "created_at": iso(notification.created_at),
        "completed_at": iso(notification.updated_at or notification.created_at),
        "sent_at": iso(notification.sent_at),
        "notification_type": notification.notification_type,
        "template_id": str(notification.template_id),
        "template_version": notification.template_version,
    }


def _recipient(notification: Any) -> str | None:
    """Return the recipient; None where its key is lost: the service hears of the failure all the same."""
    try:
        held = notification.recipient
        return _RECIPIENT.open(held, notification.pk) if isinstance(held, Sealed) else held
    except crypto.Unreadable:
        return None
