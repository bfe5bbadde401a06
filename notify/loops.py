"""A few places for copies of one loop that works through due rows.

`in_slots` gives a loop one of N places, held by an advisory lock (freed by PostgreSQL when its holder dies); `linger`
keeps one that found nothing a little longer. Calls over a wire: notify/flow.py.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from notify.celery import stopping

_POLL = 0.2  # seconds between looks while a loop lingers
# The database ends a session that asks nothing for this long, in a transaction or between two.
_WATCHED = "SET idle_session_timeout = %s; SET idle_in_transaction_session_timeout = %s"
_UNWATCHED = "RESET idle_session_timeout; RESET idle_in_transaction_session_timeout"


KEYS_SHOWN = 10


@dataclass(frozen=True)
class Due:
    """What a loop would work through: how many rows, since when the oldest is due (UTC), and the first keys."""

    count: int
    oldest: datetime | None
    keys: list[str]

    @classmethod
    def of(cls, rows: QuerySet, moment: str) -> "Due":
        """Count a queryset; moment: the column that says since when a row is due."""
        oldest = rows.order_by(moment)
        first = list(oldest.values_list("pk", moment)[:KEYS_SHOWN])
        return cls(rows.count(), first[0][1] if first else None, [str(key) for key, _ in first])


class InTransaction(RuntimeError):
    """A loop was called inside a transaction: what it sends could not be taken back with it."""


def refuse_transaction() -> None:
    """Raise InTransaction when one is open (the outermost block of a test does not count)."""
    if any(not block._from_testcase for block in connection.atomic_blocks):
        raise InTransaction("A loop calls out or touches files and must not run inside a transaction.")


@contextmanager
def slot(name: str, *, places: int | None = None) -> Iterator[bool]:
    """Hold one of the places of this loop; gives False when all are taken. places: None means LOOP_SLOTS.

    A holder that is frozen, or whose machine is gone, keeps nobody out for longer than LOOP_FROZEN_AFTER: the database
    ends a session that holds a place and asks nothing for that long.
    """
    key = zlib.crc32(name.encode()) - 2**31
    offered = range(settings.LOOP_SLOTS if places is None else places)
    taken = next((place for place in offered if _lock("pg_try_advisory_lock", key, place)), None)
    try:
        if taken is not None:
            _run(_WATCHED, [f"{settings.LOOP_FROZEN_AFTER.total_seconds():.0f}s"] * 2)
        yield taken is not None
    finally:
        if taken is not None:
            _lock("pg_advisory_unlock", key, taken)
            _run(_UNWATCHED)


def in_slots(name: str, work: Callable[[float], int], *, waiting: Callable[[], bool]) -> int:
    """Run `work(until)` in a free place, at once or not at all, until it finds nothing or LOOP_FOR has passed.

    work: works until the monotonic moment it is given and returns how many rows it handled.
    waiting: asked once more after the place was given back, so that a nudge which found it taken is not lost.
    Returns the rows handled.
    """
    refuse_transaction()
    until = time.monotonic() + settings.LOOP_FOR.total_seconds()
    handled = 0
    while True:
        with slot(name) as mine:
            if mine:
                handled += work(until)
        if not mine or stopping() or time.monotonic() >= until or not waiting():
            return handled


def linger(step: Callable[[], int], *, until: float) -> int:
    """Call `step` while it finds rows, then until LOOP_LINGER_FOR passed without any. Returns the rows handled."""
    handled, idle_since = 0, time.monotonic()
    while time.monotonic() < until and not stopping():
        found = step()
        handled += found
        if found:
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since >= settings.LOOP_LINGER_FOR.total_seconds():
            break
        else:
            time.sleep(_POLL)
    return handled


def _lock(function: str, key: int, place: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [key, place])
        return bool(cursor.fetchone()[0])


def _run(sql: str, values: Sequence[Any] = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
