"""Stored receipts are put back, so that the loop applies them again: a code became known, a key or a message came back.

Nothing is applied here. A receipt that counts already stays as it is: taking it back for a moment could move its
message. An element of an array has no body of its own, so its array is put back instead, and read anew.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from providers.models import Receipt
from providers.querysets import ReceiptQuerySet
from providers.reading import PARKED, SPLIT, UNREADABLE
from providers.receipts import MISMATCH, NO_MESSAGE, UNKNOWN_CODE

BATCH = 5_000  # receipts per transaction
OUTCOMES = {  # what a person types → what is stored
    UNKNOWN_CODE: UNKNOWN_CODE, "parked": PARKED, UNREADABLE: UNREADABLE, NO_MESSAGE: NO_MESSAGE, SPLIT: SPLIT,
    MISMATCH: MISMATCH,
    **{code: code for code in ("RECEIPT_EMPTY", "RECEIPT_UNREADABLE", "RECEIPT_AMBIGUOUS")},
}  # fmt: skip


@dataclass(frozen=True)
class PutBack:
    """How many receipts are read anew, how many arrays for the sake of their elements, and how many wait no longer."""

    again: int = 0
    arrays: int = 0
    hurried: int = 0

    def __add__(self, other: "PutBack") -> "PutBack":
        return PutBack(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int:
        """All of them."""
        return self.again + self.arrays + self.hurried


def put_back(chosen: ReceiptQuerySet, *, now: datetime, limit: int = BATCH) -> Iterator[PutBack]:
    """Put the chosen receipts back, and give what each transaction of at most `limit` rows changed, once it is done.

    Those done with in vain are due again as if new; parked and unreadable ones, which are tried again anyway, are due
    at once. What counts already, waits for its first reading or is held by a worker is left alone.
    now: from when they are due (aware, UTC).
    """
    anew = {"applied_at": None, "due_at": now, "outcome": ""}
    finished = chosen.finished_in_vain()
    for count in _write(finished.exclude(body=b""), limit, anew):
        yield PutBack(again=count)
    for count in _write(Receipt.objects.arrays_of(finished.filter(body=b"")), limit, anew):
        yield PutBack(arrays=count)
    waiting = chosen.unapplied().filter(outcome__in=[PARKED, UNREADABLE], due_at__gt=now)
    for count in _write(waiting, limit, {"due_at": now}):
        yield PutBack(hurried=count)


def _write(rows: QuerySet, limit: int, fields: dict[str, Any]) -> Iterator[int]:
    """Write these rows, a batch in key order per transaction: one that a worker finishes anew is not met again."""
    last = None
    while True:
        left = rows.filter(pk__gt=last) if last else rows
        with transaction.atomic():
            some = left.order_by("pk").select_for_update(skip_locked=True, of=("self",))
            keys = list(some.values_list("pk", flat=True)[:limit])
            count = rows.filter(pk__in=keys).update(**fields) if keys else 0
        if not keys:
            return
        yield count
        last = keys[-1]
