"""Receipts: stored before they are understood, applied by a loop, and the status follows from the whole set."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from callbacks.outcomes import settle
from notify import crypto
from notify.alerts import close_gone, close_quiet, raise_alert
from notify.fields import new_id
from notify.loops import Due
from notify.models import Alert, Notification
from notify.states import Move
from providers import ranks, reading
from providers.models import Provider, Receipt
from providers.reading import PARKED, UNREADABLE, UNREADABLE_ALERT, Alerts, Entry
from providers.receipt_auth import Reporter

BATCH = 1_000  # receipts per transaction
APPLIED, UNKNOWN_CODE, NO_MESSAGE, MISMATCH = "applied", "unknown-code", "no-such-message", "RECEIPT_PROVIDER_MISMATCH"
UNKNOWN_ALERT, MISMATCH_ALERT, UNEXPECTED_ALERT = "unknown-receipt-code", "receipt-mismatch", "receipt-unexpected"
QUIET_AFTER = timedelta(days=7)  # no such receipt since: whoever reported on what is not its own has stopped
_PARK_FOR = timedelta(minutes=1)
_STORE = """
    INSERT INTO providers_receipt (id, provider_id, dedupe_key, body, content_type, received_at, due_at, outcome,
        reported, reason, code, times_received)
    VALUES (%s, %s, %s, %s, %s, %s, %s, '', '', '', '', 1)
    ON CONFLICT (provider_id, dedupe_key) DO UPDATE SET times_received = providers_receipt.times_received + 1
    RETURNING times_received
"""
_WRITTEN = {"applied_at": "timestamptz", "due_at": "timestamptz", "outcome": "text", "notification_id": "uuid",
            "provider_reference": "text", "reported": "text", "reason": "text", "code": "text",
            "occurred_at": "timestamptz"}  # fmt: skip
# The rows are locked since they were claimed. Plain SQL: the ORM would prepare each of the eight thousand values anew.
_WRITE = f"""
    UPDATE providers_receipt r SET {", ".join(f"{column} = v.{column}" for column in _WRITTEN)}
    FROM unnest(%s::uuid[], {", ".join(f"%s::{kind}[]" for kind in _WRITTEN.values())}) AS v(key, {", ".join(_WRITTEN)})
    WHERE r.id = v.key
"""  # noqa: S608 - the names are those above


class Message(NamedTuple):
    """What the judgement needs of a notification."""

    pk: UUID
    notification_type: str
    status: str
    status_reason: str
    provider_name: str
    unknown_outcomes: int
    created_at: datetime
    sent_at: datetime | None


class Told(NamedTuple):
    """What one receipt that counts says about its message."""

    reported: str
    reason: str
    occurred_at: datetime | None
    received_at: datetime


def store(provider: Provider | Reporter, body: bytes, content_type: str, *, now: datetime) -> bool:
    """Store a receipt as it came, understood or not. Returns False when the same body is already there."""
    key = hashlib.sha256(body).hexdigest()
    with connection.cursor() as cursor:
        values = [new_id(), provider.pk, key, crypto.encrypt(body), content_type[:100], now, now]
        cursor.execute(_STORE, values)
        return cursor.fetchone()[0] == 1


def apply_batch(*, now: datetime, limit: int = BATCH) -> int:
    """Apply up to `limit` stored receipts in one transaction. Returns how many were handled, parked ones included.

    The messages are locked before the set of their receipts is read, so two workers with receipts of one message
    see each other's. When the backlog is worked off, alerts about what is no longer so are closed.
    """
    with transaction.atomic():
        claimed = Receipt.objects.due(now).select_for_update(skip_locked=True).values_list(*reading.COLUMNS)[:limit]
        entries = [Entry(*row) for row in claimed]
        if entries:
            _apply(entries, now=now)
    if len(entries) < limit:
        close_alerts(now=now)
    return len(entries)


def close_alerts(*, now: datetime) -> None:
    """Resolve the alerts about receipts of which none is left, or none came for QUIET_AFTER."""

    def unknown() -> list[str]:
        left = Receipt.objects.with_unknown_code().order_by().values_list("provider__identifier", "code").distinct()
        return [f"{identifier} {code}" for identifier, code in left]

    def unreadable() -> list[str]:
        return list(Receipt.objects.unreadable().order_by().values_list("provider__identifier", flat=True).distinct())

    kinds = (MISMATCH_ALERT, UNEXPECTED_ALERT, UNKNOWN_ALERT, UNREADABLE_ALERT)
    for kind in sorted(set(Alert.objects.open().filter(kind__in=kinds).values_list("kind", flat=True))):
        if kind in (MISMATCH_ALERT, UNEXPECTED_ALERT):
            close_quiet(kind, before=now - QUIET_AFTER, now=now)
        else:
            close_gone(kind, unknown if kind == UNKNOWN_ALERT else unreadable, now=now)


def _apply(entries: list[Entry], *, now: datetime) -> None:
    """Read, judge and write receipts that are locked, and settle their messages."""
    providers = Provider.objects.in_bulk()  # once: a configuration that was opened stays so
    entries.sort(key=lambda entry: entry.received_at)
    alerts: Alerts = {}
    reading.read(entries, providers, alerts, now=now)
    reading.name(entries, providers)
    messages = _lock({entry.notification_id for entry in entries if entry.notification_id})
    for entry in entries:
        if not entry.applied_at and entry.outcome != UNREADABLE:
            identifier = providers[entry.provider_id].identifier
            _judge(entry, messages.get(entry.notification_id), identifier, alerts, now=now)
    told = _told_before(messages)
    for entry in entries:
        if entry.outcome == APPLIED and entry.reported:
            said = Told(entry.reported, entry.reason, entry.occurred_at, entry.received_at)
            told.setdefault(entry.notification_id, []).append(said)
    _write(entries)
    for (kind, scope), text in sorted(alerts.items()):  # in order: two workers cannot block each other
        raise_alert(kind, scope, text, now=now)
    verdicts = {key: ranks.verdict(messages[key], [one.reported for one in said]) for key, said in told.items()}
    settle([_move(messages[key], status, told[key]) for key, status in verdicts.items() if status], now=now)


def _lock(keys: set[UUID]) -> dict[UUID, Message]:
    """Lock the messages in key order and return what the judgement needs of them."""
    rows = Notification.objects.filter(pk__in=keys).order_by("pk").select_for_update()
    return {row[0]: Message(*row) for row in rows.values_list(*Message._fields)}


def _told_before(messages: Iterable[UUID]) -> dict[UUID, list[Told]]:
    """Return what earlier receipts said about these messages."""
    counted = Receipt.objects.filter(notification_id__in=list(messages), outcome=APPLIED).exclude(reported="")
    told: dict[UUID, list[Told]] = {}
    for key, *said in counted.values_list("notification_id", *Told._fields):
        told.setdefault(key, []).append(Told(*said))
    return told


def _write(entries: Sequence[Entry]) -> None:
    """Write what became of the receipts; a key is written as text, which costs a tenth of a UUID."""
    values = {column: [getattr(entry, column) for entry in entries] for column in ("pk", *_WRITTEN)}
    for column in ("pk", "notification_id"):
        values[column] = [str(key) if key else None for key in values[column]]
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, list(values.values()))


def _judge(entry: Entry, message: Message | None, name: str, alerts: Alerts, *, now: datetime) -> None:
    """Decide whether one receipt counts, waits, or is only kept. name: of its provider."""
    if entry.code.startswith("RECEIPT_"):  # an element of an array that cannot be read
        entry.finish(entry.code, now=now)
    elif message is None:
        _park(entry, now=now)
    # After an unknown outcome another provider may carry the message, and either may report on it.
    elif message.provider_name not in ("", name) and not message.unknown_outcomes:
        entry.finish(MISMATCH, now=now)
        entry.reported = ""
        alerts[MISMATCH_ALERT, name] = (
            f"{name} reported on a message that another provider carried; its status was left alone. "
            "Check the credentials of the receipt address. See README, receipt-mismatch."
        )
    elif not entry.reported:
        entry.finish(UNKNOWN_CODE, now=now)
        alerts[UNKNOWN_ALERT, f"{name} {entry.code}"] = (
            f"{name} reported code {entry.code}, which is not known; no status was changed and the receipt is kept. "
            "Ask the provider what it means, add it to the table in the provider's backend, then run "
            f"manage.py replay_receipts --provider {name}. See README, unknown-receipt-code."
        )
    else:
        entry.finish(APPLIED, now=now)
        never_sent = message.status == Notification.Status.CREATED and not message.provider_name
        if never_sent or message.status in ranks.NEVER_LEFT:
            alerts[UNEXPECTED_ALERT, name] = (
                f"{name} reported on a message that was cancelled or never sent; the report is kept. "
                "Look for another sender that uses our account. See README, receipt-unexpected."
            )


def _park(entry: Entry, *, now: datetime) -> None:
    """Let a receipt that came before its message wait, for as long as RECEIPT_PARKED_FOR."""
    waited = now - entry.received_at
    if waited > settings.RECEIPT_PARKED_FOR:
        entry.finish(NO_MESSAGE, now=now)
    else:
        entry.outcome, entry.due_at = PARKED, now + max(_PARK_FOR, waited / 4)


def _move(message: Message, status: str, told: Sequence[Told]) -> Move:
    """Return the move, with the provider's time (clamped to between sending and receipt) and words."""
    rest = {ranks.UNCLEAR: 1, status: 0}  # the status itself, else the failure that became it
    said = min(told, key=lambda one: (rest.get(one.reported, 2), one.received_at))
    occurred = said.occurred_at or said.received_at
    occurred = min(max(occurred, message.sent_at or message.created_at), said.received_at)
    final = status in Notification.FINAL
    fields = {"status_reason": said.reason, "due_at": None, "delivered_at": occurred if final else None}
    return Move(message.pk, status, fields)


def due(*, now: datetime) -> Due:
    """Say which receipts would be applied now."""
    return Due.of(Receipt.objects.due(now), "due_at")
