"""What stored receipts say: each is read by its provider's backend, an array becomes a receipt per element."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from notify import crypto
from notify.models import Notification
from providers.backends import Backend, ReceiptProblem, Report, load_backend
from providers.models import Provider, Receipt
from providers.querysets import PART_KEY

logger = logging.getLogger(__name__)
PARKED = "waiting"  # came before its message
UNREADABLE = "unreadable"  # its ciphertext cannot be opened, or its provider's backend cannot be used
SPLIT = "split"  # an array, whose elements are receipts of their own
Alerts = dict[tuple[str, str], str]  # (kind, scope) → message
UNREADABLE_ALERT = "unreadable-receipt"
_UNREADABLE_FOR = timedelta(hours=1)
COLUMNS = ("pk", "provider_id", "dedupe_key", "body", "content_type", "received_at", "due_at", "outcome",
           "notification_id", "provider_reference", "reported", "reason", "code", "occurred_at")  # fmt: skip


@dataclass(slots=True)
class Entry:
    """One receipt as it is worked on: the columns of its row and, at the end, what becomes of it.

    A plain object: thousands are made each second, and a model instance costs ten times as much.
    """

    pk: UUID
    provider_id: int
    dedupe_key: str
    body: bytes
    content_type: str
    received_at: datetime
    due_at: datetime
    outcome: str
    notification_id: UUID | None
    provider_reference: str
    reported: str
    reason: str
    code: str
    occurred_at: datetime | None
    applied_at: datetime | None = None

    def finish(self, outcome: str, *, now: datetime) -> None:
        """Be done with it."""
        self.outcome, self.applied_at = outcome, now

    @property
    def to_read(self) -> bool:
        """Whether its body is to be read: the first time, or anew where it was put back or may be understood by now.

        A parked one that was understood is not; nor is an element of an array, which has no body of its own.
        """
        if len(self.body) == 0:
            return False
        return self.outcome != PARKED or not (self.reported and (self.notification_id or self.provider_reference))


def read(entries: list[Entry], providers: dict[int, Provider], alerts: Alerts, *, now: datetime) -> None:
    """Fill in what each receipt says; the elements of an array are added to the list, what is wrong to the alerts."""
    backends: dict[int, Backend] = {}
    for entry in [entry for entry in entries if entry.to_read]:
        provider = providers[entry.provider_id]
        try:
            if provider.pk not in backends:
                backends[provider.pk] = load_backend(provider.backend, provider.config)
            reports = backends[provider.pk].read_receipt(crypto.decrypt(entry.body), entry.content_type)
        except ReceiptProblem as problem:
            entry.finish(problem.code, now=now)
            continue
        except Exception:
            logger.exception("Receipt %s cannot be read", entry.pk)
            _put_off(entry, provider, alerts, now=now)
            continue
        if entry.outcome == UNREADABLE:
            entry.outcome = ""
        if len(reports) == 1:
            _fill(entry, reports[0])
        else:
            entry.finish(SPLIT, now=now)
            entries += _split(entry, reports, now=now)


def _put_off(entry: Entry, provider: Provider, alerts: Alerts, *, now: datetime) -> None:
    """Move a poison receipt ahead, so that it does not stop its batch, and say so."""
    entry.outcome, entry.due_at = UNREADABLE, now + _UNREADABLE_FOR
    alerts[UNREADABLE_ALERT, provider.identifier] = (
        f"Stored receipts of {provider.identifier} cannot be read; they are kept and tried again each hour. Check that "
        "ENCRYPTION_KEYS still holds every key and that the provider's backend loads. "
        f"See README, {UNREADABLE_ALERT}."
    )


def _split(array: Entry, reports: Sequence[Report], *, now: datetime) -> list[Entry]:
    """Store each element of an array as a receipt of its own, once, and return those that are still to be judged.

    The body stays with the array alone. When the array is read anew (a code became known), so are its elements.
    """
    found = {f"{array.dedupe_key[:PART_KEY]}-{place}": report for place, report in enumerate(reports)}
    same: dict[str, Any] = {"provider_id": array.provider_id, "received_at": array.received_at, "due_at": now}
    new = [Receipt(dedupe_key=key, body=b"", **same) for key in found]
    Receipt.objects.bulk_create(new, ignore_conflicts=True, batch_size=1_000)
    stored = Receipt.objects.filter(provider=array.provider_id, dedupe_key__in=list(found)).exclude(outcome="applied")
    parts = [Entry(*row) for row in stored.select_for_update(skip_locked=True).values_list(*COLUMNS)]
    for part in parts:
        part.outcome = ""
        _fill(part, found[part.dedupe_key])
    return parts


def _fill(entry: Entry, report: Report) -> None:
    try:
        entry.notification_id = UUID(report.reference)
    except ValueError:
        entry.notification_id = None
    entry.reported, entry.reason, entry.code = report.status, report.reason[:200], report.code[:40]
    entry.occurred_at, entry.provider_reference = report.occurred_at, report.provider_reference[:200]


def name(entries: Iterable[Entry], providers: dict[int, Provider]) -> None:
    """Find the messages of receipts that name only the provider's own id, among those this provider carried."""
    unnamed = [entry for entry in entries if not entry.notification_id and entry.provider_reference]
    if not unnamed:
        return
    rows = Notification.objects.filter(provider_reference__in={entry.provider_reference for entry in unnamed})
    keys = rows.values_list("provider_name", "provider_reference", "pk")
    found = {(provider, reference): key for provider, reference, key in keys}
    for entry in unnamed:
        identifier = providers[entry.provider_id].identifier
        entry.notification_id = found.get((identifier, entry.provider_reference))
