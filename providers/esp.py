"""Delivery reports of email providers, read by django-anymail's own webhook views.

Who sent it is known by the credentials of our address, so the views are used for reading alone.
"""

import functools
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from anymail.signals import AnymailTrackingEvent, EventType, RejectReason
from django.core.handlers.wsgi import WSGIRequest

from providers.backends import CODE_LENGTH, ReceiptProblem, Report, one_line, without_numbers

METADATA_KEY = "notification_id"
REFERENCE_LENGTH = 200  # of a provider's own id, as on the notification
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?=@)", re.IGNORECASE)
# Amazon's needs an account of its own to confirm the subscription, which basic authentication cannot stand in for.
_LEFT_OUT = {"amazon_ses", "sendinblue"}
_FINAL = {
    EventType.DELIVERED: "delivered",
    EventType.BOUNCED: "permanent-failure",
    EventType.REJECTED: "permanent-failure",
    EventType.FAILED: "permanent-failure",
    EventType.COMPLAINED: "complaint",
}
REASONS = {
    RejectReason.INVALID: "no such address",
    RejectReason.BOUNCED: "the mailbox refused it",
    RejectReason.TIMED_OUT: "tried for too long",
    RejectReason.BLOCKED: "blocked by the provider's rules",
    RejectReason.SPAM: "the recipient reported spam before",
    RejectReason.UNSUBSCRIBED: "the recipient unsubscribed",
}


@functools.cache
def views() -> dict[str, type]:
    """Return the view class of each provider, by the name in anymail's own addresses; the first call imports them."""
    from anymail import urls as anymail_urls  # with it comes boto3

    found = {}
    for pattern in anymail_urls.urlpatterns:
        name, _, rest = str(pattern.name).rpartition("_tracking_webhook")
        if name and not rest and name not in _LEFT_OUT:
            found[name] = pattern.callback.view_class
    return found


def label(esp: str, content_type: str) -> str:
    """Write which provider's report a stored body is, before its content type."""
    return f"{esp}; {content_type}"


def read(body: bytes, content_type: str, *, default: str = "") -> list[Report]:
    """Read one delivery webhook. content_type: as `label` wrote it. default: the provider where it names none.

    Raises ReceiptProblem for what the provider's view cannot read, or when no provider is named.
    """
    name, _, rest = content_type.partition("; ")
    if name not in views():
        name, rest = default, content_type
    if name not in views():
        raise ReceiptProblem("RECEIPT_UNREADABLE")
    if not body.strip():
        raise ReceiptProblem("RECEIPT_EMPTY")
    view = views()[name].__new__(views()[name])  # its __init__ wants keys of signatures, which are not checked here
    try:
        reports = [_report(event) for event in _tracked(view.parse_events(_request(body, rest)))]
    except Exception:  # noqa: BLE001 - the views trust what they are sent
        raise ReceiptProblem("RECEIPT_UNREADABLE") from None
    if not reports:
        raise ReceiptProblem("RECEIPT_EMPTY")
    return reports


def _tracked(events: Iterable[Any]) -> list[AnymailTrackingEvent]:
    return [event for event in events if isinstance(event, AnymailTrackingEvent)]


def _report(event: AnymailTrackingEvent) -> Report:
    """Say what one event means; those that are no end (queued, deferred, opened) are only noted."""
    status = _FINAL.get(event.event_type, "" if event.event_type == EventType.UNKNOWN else "noted")
    if event.event_type == EventType.BOUNCED and _is_soft(event):
        status = "temporary-failure"
    ours = _our_id(event)
    return Report(
        reference=ours,
        status=status,
        reason=REASONS.get(event.reject_reason, "") if status.endswith("failure") else "",
        code=_code(event),
        occurred_at=_moment(event.timestamp),
        provider_reference="" if ours else one_line(event.message_id or "", REFERENCE_LENGTH),
    )


def _our_id(event: AnymailTrackingEvent) -> str:
    """Find our notification's id in the metadata, else in the Message-ID we gave; empty without one."""
    metadata = event.metadata if isinstance(event.metadata, dict) else {}
    fields = event.esp_event if hasattr(event.esp_event, "get") else {}
    given = str(metadata.get(METADATA_KEY) or "")
    try:
        return str(UUID(given))
    except ValueError:
        found = _OURS.search(f"{event.message_id or ''} {fields.get('smtp-id') or ''}")
        return found[0].lower() if found else ""


def _is_soft(event: AnymailTrackingEvent) -> bool:
    """Tell a mailbox that may take mail again: a 4xx code, a provider's own word “soft”, or tried for too long."""
    fields = event.esp_event if hasattr(event.esp_event, "get") else {}
    words = [str(fields.get(name) or "") for name in ("Type", "event", "type", "bounce_type")]
    soft = any("soft" in word.lower() for word in words)
    passing = re.match(r"\s*(?:smtp;\s*)?4\d\d\b", str(event.mta_response or "")) is not None
    return soft or passing or event.reject_reason == RejectReason.TIMED_OUT


def _code(event: AnymailTrackingEvent) -> str:
    """Name the event; one that is not known by the provider's own word, so that its alert says what to look for."""
    fields = event.esp_event if hasattr(event.esp_event, "get") else {}
    own = next((fields[name] for name in ("RecordType", "event", "type") if isinstance(fields.get(name), str)), "")
    known = event.event_type != EventType.UNKNOWN
    return without_numbers(event.event_type if known else own or "unknown", CODE_LENGTH)


def _moment(value: Any) -> datetime | None:
    usable = isinstance(value, datetime) and value.tzinfo is not None and 2000 <= value.year < 2100
    return value.astimezone(UTC) if usable else None


def _request(body: bytes, content_type: str) -> WSGIRequest:
    """Make the request the views read: only its body and its content type count."""
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }
    )  # fmt: skip
