"""Receipts: stored before they are understood, applied by a loop, and the status follows from the whole set."""

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from callbacks.outcomes import settle
from notify import bulk, crypto
from notify.alerts import close_alert, raise_alert
from notify.fields import new_id
from notify.loops import Due
from notify.models import Notification
from notify.states import Move
from providers import ranks
from providers.backends import Backend, ReceiptProblem, Report, load_backend
from providers.models import Provider, Receipt

logger = logging.getLogger(__name__)
BATCH = 1_000  # receipts per transaction
PARKED = "waiting"  # came before its message
UNREADABLE = "unreadable"  # its ciphertext cannot be opened, or its provider's backend cannot be used
_PARK_FOR = timedelta(minutes=1)
_UNREADABLE_FOR = timedelta(hours=1)
_PART_KEY = 55  # characters of an array's key at the start of its elements' keys
_STORE = """
    INSERT INTO providers_receipt (id, provider_id, dedupe_key, body, content_type, received_at, due_at, outcome,
        reported, reason, code, times_received)
    VALUES (%s, %s, %s, %s, %s, %s, %s, '', '', '', '', 1)
    ON CONFLICT (provider_id, dedupe_key) DO UPDATE SET times_received = providers_receipt.times_received + 1
    RETURNING times_received
"""


_WRITTEN = ("applied_at", "due_at", "outcome", "notification_id", "reported", "reason", "code", "occurred_at")


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
        receipts = list(Receipt.objects.filter(pk__in=keys).order_by("received_at"))
        if not receipts:
            return 0
        providers = Provider.objects.in_bulk()  # once: its configuration is decrypted at every load
        for receipt in receipts:
            receipt.provider = providers[receipt.provider_id]
        _read(receipts, now=now)
        _name(receipts)
        named = {receipt.notification_id for receipt in receipts if receipt.notification_id}
        locked = Notification.objects.filter(pk__in=named).order_by("pk").select_for_update()
        messages = {message.pk: message for message in locked}
        for receipt in receipts:
            _judge(receipt, messages.get(receipt.notification_id), now=now)
        written = {name: [getattr(receipt, name) for receipt in receipts] for name in _WRITTEN}
        bulk.update_each(Receipt, [receipt.pk for receipt in receipts], written)
        _settle(messages, now=now)
    return len(receipts)


def _read(receipts: list[Receipt], *, now: datetime) -> None:
    """Fill in what each receipt says; an array becomes one receipt per element, added to the list."""
    backends: dict[int, Backend] = {}
    # A parked one that names a message was read before; one that does not is read anew for the provider's own id.
    for receipt in [one for one in receipts if one.outcome != PARKED or not (one.notification_id or one.body == b"")]:
        provider = receipt.provider
        try:
            if provider.pk not in backends:
                backends[provider.pk] = load_backend(provider.backend, provider.config)
            reports = backends[provider.pk].read_receipt(crypto.decrypt(receipt.body), receipt.content_type)
        except ReceiptProblem as problem:
            receipt.outcome, receipt.applied_at = problem.code, now
            continue
        except Exception:
            logger.exception("Receipt %s cannot be read", receipt.pk)
            _put_off(receipt, now=now)
            continue
        if receipt.outcome == UNREADABLE:
            receipt.outcome = ""
            close_alert("unreadable-receipt", provider.identifier, now=now)
        if len(reports) == 1:
            _fill(receipt, reports[0])
        else:
            receipt.outcome, receipt.applied_at = "split", now
            receipts += _split(receipt, reports, now=now)


def _put_off(receipt: Receipt, *, now: datetime) -> None:
    """Move a poison receipt ahead, so that it does not stop its batch, and say so."""
    receipt.outcome, receipt.due_at = UNREADABLE, now + _UNREADABLE_FOR
    name = receipt.provider.identifier
    raise_alert(
        "unreadable-receipt", name,
        f"Stored receipts of {name} cannot be read; they are kept and tried again each hour. Check that "
        "ENCRYPTION_KEYS still holds every key and that the provider's backend loads. "
        "See README, unreadable-receipt.", now=now,
    )  # fmt: skip


def _split(receipt: Receipt, reports: Sequence[Report], *, now: datetime) -> list[Receipt]:
    """Store each element of an array as a receipt of its own, once, and return those that are still to be judged.

    The body stays with the array alone. When the array is read anew (a code became known), so are its elements.
    """
    found = {f"{receipt.dedupe_key[:_PART_KEY]}-{place}": report for place, report in enumerate(reports)}
    same = {"provider": receipt.provider, "received_at": receipt.received_at, "due_at": now, "body": b""}
    new = [Receipt(dedupe_key=key, **same) for key in found]
    Receipt.objects.bulk_create(new, ignore_conflicts=True, batch_size=1_000)
    stored = Receipt.objects.filter(provider=receipt.provider, dedupe_key__in=list(found)).exclude(outcome="applied")
    parts = list(stored.select_for_update(skip_locked=True, of=("self",)).select_related("provider"))
    for part in parts:
        part.outcome, part.applied_at = "", None
        _fill(part, found[part.dedupe_key])
    return parts


def _fill(receipt: Receipt, report: Report) -> None:
    try:
        receipt.notification_id = UUID(report.reference)
    except ValueError:
        receipt.notification_id = None
    receipt.reported, receipt.reason, receipt.code = report.status, report.reason[:200], report.code[:40]
    receipt.occurred_at, receipt.named = report.occurred_at, report.provider_reference


def _name(receipts: Sequence[Receipt]) -> None:
    """Find the messages of receipts that name only the provider's own id, among those this provider carried."""
    unnamed = [one for one in receipts if not one.notification_id and getattr(one, "named", "")]
    rows = Notification.objects.filter(provider_reference__in={one.named for one in unnamed}) if unnamed else []
    found = {(row.provider_name, row.provider_reference): row.pk for row in rows}
    for receipt in unnamed:
        receipt.notification_id = found.get((receipt.provider.identifier, receipt.named))


def _judge(receipt: Receipt, message: Notification | None, *, now: datetime) -> None:
    """Decide whether one receipt counts, waits, or is only kept."""
    if receipt.applied_at or receipt.outcome == UNREADABLE:
        return
    name = receipt.provider.identifier
    if receipt.code.startswith("RECEIPT_"):  # an element of an array that cannot be read
        receipt.outcome, receipt.applied_at = receipt.code, now
        return
    if message is None:
        _park(receipt, now=now)
        return
    receipt.applied_at = now
    # After an unknown outcome another provider may carry the message, and either may report on it.
    if message.provider_name not in ("", name) and not message.unknown_outcomes:
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
            "Ask the provider what it means and add it to the provider's backend. See README, unknown-receipt-code.",
            now=now,
        )  # fmt: skip
    else:
        receipt.outcome = "applied"
        never_sent = message.status == Notification.Status.CREATED and not message.provider_name
        if never_sent or message.status in ranks.NEVER_LEFT:
            raise_alert(
                "receipt-unexpected", name,
                f"{name} reported on a message that was cancelled or never sent; the report is kept. "
                "Look for another sender that uses our account. See README, receipt-unexpected.", now=now,
            )  # fmt: skip


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
    rest = {ranks.UNCLEAR: 1, status: 0}  # the status itself, else the failure that became it
    receipt = min(receipts, key=lambda one: (rest.get(one.reported, 2), one.received_at))
    occurred = receipt.occurred_at or receipt.received_at
    occurred = min(max(occurred, message.sent_at or message.created_at), receipt.received_at)
    final = status in Notification.FINAL
    fields = {"status_reason": receipt.reason, "due_at": None, "delivered_at": occurred if final else None}
    return Move(message.pk, status, fields)


def due(*, now: datetime) -> Due:
    """Say which receipts would be applied now."""
    return Due.of(Receipt.objects.due(now), "due_at")
