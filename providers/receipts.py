"""Receipts: stored before they are understood, applied by a loop, and the status follows from the whole set."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from callbacks.outcomes import settle
from notify import crypto
from notify.alerts import raise_alert
from notify.fields import new_id
from notify.models import Notification
from notify.states import Move
from providers import ranks
from providers.backends import ReceiptProblem, Report, load_backend
from providers.models import Provider, Receipt

logger = logging.getLogger(__name__)
BATCH = 1_000  # receipts per transaction
PARKED = "waiting"  # came before its message
_PARK_FOR = timedelta(minutes=1)
_STORE = """
    INSERT INTO providers_receipt (id, provider_id, dedupe_key, body, content_type, received_at, due_at, outcome,
        reported, reason, code, times_received)
    VALUES (%s, %s, %s, %s, %s, %s, %s, '', '', '', '', 1)
    ON CONFLICT (provider_id, dedupe_key) DO UPDATE SET times_received = providers_receipt.times_received + 1
    RETURNING times_received
"""


def store(provider: Provider, body: bytes, content_type: str, *, now: datetime) -> bool:
    """Store a receipt as it came, understood or not. Returns False when the same body is already there."""
    key = hashlib.sha256(body).hexdigest()
    with connection.cursor() as cursor:
        values = [new_id(), provider.pk, key, crypto.encrypt(body), content_type[:100], now, now]
        cursor.execute(_STORE, values)
        return cursor.fetchone()[0] == 1


def apply_batch(*, now: datetime, limit: int = BATCH) -> int:
    """Apply up to `limit` stored receipts in one transaction. Returns how many were read, parked ones included.

    The messages are locked before the set of their receipts is read, so two workers with receipts of one message
    see each other's.
    """
    with transaction.atomic():
        keys = list(Receipt.objects.due(now).select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        receipts = list(Receipt.objects.filter(pk__in=keys).select_related("provider").order_by("received_at"))
        if not receipts:
            return 0
        _read(receipts, now=now)
        named = {receipt.notification_id for receipt in receipts if receipt.notification_id}
        locked = Notification.objects.filter(pk__in=named).order_by("pk").select_for_update()
        messages = {message.pk: message for message in locked}
        for receipt in receipts:
            _judge(receipt, messages.get(receipt.notification_id), now=now)
        fields = ["applied_at", "due_at", "outcome", "notification_id", "reported", "reason", "code", "occurred_at"]
        Receipt.objects.bulk_update(receipts, fields, batch_size=500)
        _settle(messages, now=now)
    return len(receipts)


def _read(receipts: list[Receipt], *, now: datetime) -> None:
    """Fill in what each receipt says; an array becomes one receipt per element, added to the list."""
    backends: dict[int, object] = {}
    for receipt in [receipt for receipt in receipts if receipt.outcome != PARKED]:  # those were read before
        provider = receipt.provider
        backend = backends.setdefault(provider.pk, load_backend(provider.backend, provider.config))
        try:
            reports = backend.read_receipt(crypto.decrypt(receipt.body), receipt.content_type)
        except ReceiptProblem as problem:
            receipt.outcome, receipt.applied_at = problem.code, now
            continue
        if len(reports) == 1:
            _fill(receipt, reports[0])
        else:
            receipt.outcome, receipt.applied_at = "split", now
            receipts += _split(receipt, reports, now=now)


def _split(receipt: Receipt, reports: Sequence[Report], *, now: datetime) -> list[Receipt]:
    """Store each element of an array as a receipt of its own, once."""
    parts = []
    for place, report in enumerate(reports):
        key = hashlib.sha256(f"{receipt.dedupe_key}:{place}".encode()).hexdigest()
        part = Receipt(
            provider=receipt.provider, dedupe_key=key, body=receipt.body, received_at=receipt.received_at, due_at=now
        )
        _fill(part, report)
        parts.append(part)
    Receipt.objects.bulk_create(parts, ignore_conflicts=True)
    stored = set(Receipt.objects.filter(pk__in=[part.pk for part in parts]).values_list("pk", flat=True))
    return [part for part in parts if part.pk in stored]


def _fill(receipt: Receipt, report: Report) -> None:
    try:
        receipt.notification_id = UUID(report.reference)
    except ValueError:
        receipt.notification_id = None
    receipt.reported, receipt.reason, receipt.code = report.status, report.reason[:200], report.code[:40]
    receipt.occurred_at = report.occurred_at


def _judge(receipt: Receipt, message: Notification | None, *, now: datetime) -> None:
    """Decide whether one receipt counts, waits, or is only kept."""
    if receipt.applied_at:
        return
    name = receipt.provider.identifier
    if receipt.code.startswith("RECEIPT_"):  # an element of an array that cannot be read
        receipt.outcome, receipt.applied_at = receipt.code, now
        return
    if message is None:
        _park(receipt, now=now)
        return
    receipt.applied_at = now
    if message.provider_name and message.provider_name != name:
        receipt.outcome, receipt.reported = "RECEIPT_PROVIDER_MISMATCH", ""
        raise_alert(
            "receipt-mismatch", name,
            f"{name} reported on a message that another provider carried; its status was left alone. "
            "Check the credentials of the receipt address. See README, receipt-mismatch.", now=now,
        )  # fmt: skip
    elif not receipt.reported:
        receipt.outcome = "unknown-code"
        raise_alert(
            "unknown-receipt-code", f"{name} {receipt.code}",
            f"{name} reported code {receipt.code}, which is not known; no status was changed and the receipt is kept. "
            "Add the code to the provider's backend, then run replay_receipts. See README, unknown-receipt-code.",
            now=now,
        )  # fmt: skip
    else:
        receipt.outcome = "applied"


def _park(receipt: Receipt, *, now: datetime) -> None:
    """Let a receipt that came before its message wait, for as long as RECEIPT_PARKED_FOR."""
    if now - receipt.received_at > settings.RECEIPT_PARKED_FOR:
        receipt.outcome, receipt.applied_at = "no-such-message", now
    else:
        waited = now - receipt.received_at
        receipt.outcome, receipt.due_at = PARKED, now + max(_PARK_FOR, waited / 4)


def _settle(messages: dict[UUID, Notification], *, now: datetime) -> None:
    """Move each message to what the set of its receipts adds up to."""
    stored: dict[UUID, list[Receipt]] = {}
    for receipt in Receipt.objects.filter(notification_id__in=list(messages), outcome="applied").exclude(reported=""):
        stored.setdefault(receipt.notification_id, []).append(receipt)
    moves = []
    for key, receipts in stored.items():
        status = ranks.verdict(messages[key], [receipt.reported for receipt in receipts])
        if status:
            moves.append(_move(messages[key], status, receipts))
    settle(moves, now=now)


def _move(message: Notification, status: str, receipts: Sequence[Receipt]) -> Move:
    """Return the move, with the provider's time (clamped to between sending and receipt) and words."""
    means = [receipt for receipt in receipts if receipt.reported in (status, ranks.UNCLEAR)]
    receipt = means[0] if means else receipts[0]
    occurred = receipt.occurred_at or receipt.received_at
    occurred = min(max(occurred, message.sent_at or message.created_at), receipt.received_at)
    final = status in Notification.FINAL
    fields = {"status_reason": receipt.reason, "due_at": None, "delivered_at": occurred if final else None}
    return Move(message.pk, status, fields)
