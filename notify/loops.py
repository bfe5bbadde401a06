"""Working through due rows: claim, commit, act, write results; with a few places for copies of one loop.

`in_slots` gives a loop one of N places, held by an advisory lock (freed by PostgreSQL when its holder dies).
`flow` keeps a bounded number of calls on the wire while rows are claimed and results written in bulk between them.
No transaction is open while anything is on the wire.
"""

import asyncio
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from notify.celery import stopping

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Answer = TypeVar("Answer")
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


class Work(Protocol[Item, Answer]):
    """What `flow` needs to know of the rows it works through."""

    concurrency: int

    def claim(self, limit: int, now: datetime) -> Sequence[Item]:
        """Claim up to `limit` due rows and commit."""

    async def act(self, item: Item, session: Any) -> Answer:
        """Make the call through the open session. What it raises is logged and comes to `finish` as the exception."""

    def finish(self, results: Sequence[tuple[Item, Any]], now: datetime) -> None:
        """Write what became of them, in bulk."""

    def next_due(self) -> datetime | None:
        """When the next row is due (UTC), None when none waits."""


def flow(work: Work, *, until: float, opened: Callable[[], Any]) -> int:
    """Work through due rows until nothing is due (or soon due) or the monotonic moment `until` has come.

    opened: makes the HTTP session that is open meanwhile, inside the event loop.
    The database is used between steps of the event loop only, in the caller's thread and connection.
    Returns how many rows were handled.
    """
    handled, idle_since = 0, time.monotonic()
    on_wire: dict[asyncio.Task, Any] = {}
    with asyncio.Runner() as runner:
        context = runner.run(_open(opened))
        try:
            while on_wire or (time.monotonic() < until and not stopping()):
                closing = stopping() or time.monotonic() >= until
                room = 0 if closing else work.concurrency - len(on_wire)
                claimed = work.claim(room, _now()) if room >= max(1, work.concurrency // 4) else []
                on_wire |= runner.run(_begin(work, claimed, context))
                done = runner.run(_some(on_wire)) if on_wire else []
                if done:
                    work.finish([(on_wire.pop(task), _answer(task)) for task in done], _now())
                    handled += len(done)
                if claimed or done:
                    idle_since = time.monotonic()
                elif not on_wire and not _worth_waiting(work, idle_since, until):
                    break
        finally:
            runner.run(context.close())
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


def _worth_waiting(work: Work, idle_since: float, until: float) -> bool:
    """Sleep a little and say True while more may come: shortly after the last row, or when one is due soon."""
    due = work.next_due()
    soon = due is not None and (due - _now()) <= settings.LOOP_DUE_WITHIN
    if not soon and time.monotonic() - idle_since >= settings.LOOP_LINGER_FOR.total_seconds():
        return False
    time.sleep(min(_POLL, max(0.0, until - time.monotonic())))
    return True


async def _open(opened: Callable[[], Any]) -> Any:
    return opened()


async def _begin(work: Work, claimed: Sequence[Any], session: Any) -> dict[asyncio.Task, Any]:
    return {asyncio.create_task(work.act(item, session)): item for item in claimed}


async def _some(on_wire: dict[asyncio.Task, Any]) -> set[asyncio.Task]:
    """Wait until some are done, then a moment more, so that results are written in handfuls."""
    done, _ = await asyncio.wait(on_wire, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
    if done and len(done) < len(on_wire):
        done, _ = await asyncio.wait(on_wire, timeout=0.01)
    return done


def _answer(task: asyncio.Task) -> Any:
    error = task.exception()
    if error is None:
        return task.result()
    logger.error("A call of a loop raised %s", type(error).__name__, exc_info=error)
    return error


def _lock(function: str, key: int, place: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [key, place])
        return bool(cursor.fetchone()[0])


def _run(sql: str, values: Sequence[Any] = ()) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def _now() -> datetime:
    return datetime.now(UTC)
