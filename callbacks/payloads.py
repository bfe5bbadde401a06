"""What a service is told: built and encrypted when the status changes, with address and token in it."""

import json
from typing import Any

from callbacks.models import Endpoint
from notify import crypto
from notify.clock import iso
from notify.models import Notification

# The columns of a notification that go into a callback.
READ = ("service_id", "template_id", "template_version", "notification_type", "recipient", "client_reference", "status",
        "created_at", "sent_at", "updated_at")  # fmt: skip


def seal_payload(notification: Notification, endpoint: Endpoint) -> bytes:
    """Return the encrypted callback: body, address and token as they are now."""
    sealed = {"url": endpoint.url, "token": endpoint.bearer_token, "body": body(notification)}
    return crypto.encrypt(json.dumps(sealed, ensure_ascii=False).encode())


def open_payload(payload: bytes) -> dict[str, Any]:
    """Return url, token and body of a sealed callback; raises crypto.Unreadable."""
    return json.loads(crypto.decrypt(payload))


def body(notification: Notification) -> dict[str, Any]:
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


def _recipient(notification: Notification) -> str | None:
    """Return the recipient; None where its key is lost: the service hears of the failure all the same."""
    try:
        return notification.recipient
    except crypto.Unreadable:
        return None
