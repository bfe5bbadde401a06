"""Calls over a wire: rows are claimed, many calls are made at once, and their results are written in bulk.

A few rows are claimed ahead, so that the place of a call is taken as soon as its result is written. No transaction is
open while anything is on the wire.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.db import connection

from notify.celery import stopping

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Answer = TypeVar("Answer")
_POLL = 0.2  # seconds between looks while nothing happens
_GATHER = 0.002  # seconds in which results come together; their places are empty meanwhile
_RECENT = 1.0  # seconds: as many rows are claimed ahead as calls ended in them, a quarter of the places at most
_READY_FOR = 2.0  # seconds a claimed row waits for a place before it is given back: its lease is for the call


class Work(Protocol[Item, Answer]):
    """What `flow` needs to know of the rows it works through."""

    concurrency: int

    def claim(self, limit: int, now: datetime) -> Sequence[Item]:
        """Claim up to `limit` due rows and commit."""

    async def act(self, item: Item, session: Any) -> Answer:
        """Make the call through the open session. What it raises is logged and comes to `finish` as the exception."""

    def finish(self, results: Sequence[tuple[Item, Any]], now: datetime) -> None:
        """Write what became of them, in bulk."""

    def give_back(self, items: Sequence[Item], now: datetime) -> None:
        """Make claimed rows whose call was not begun due again, as if they had not been claimed."""

    def next_due(self) -> datetime | None:
        """When the next row is due (UTC), None when none waits."""


def flow(work: Work, *, until: float, opened: Callable[[], Any]) -> int:
    """Work through due rows until nothing is due (or soon due) or the monotonic moment `until` has come.

    opened: makes the HTTP session that is open meanwhile, inside the event loop.
    The database is used between steps of the event loop only, in the caller's thread and connection.
    Returns how many rows were handled.
    """
    handled, idle_since = 0, time.monotonic()
    with asyncio.Runner() as runner:
        wire = runner.run(_open(work, opened))
        try:
            while len(wire) or (time.monotonic() < until and not stopping()):
                claimed: Sequence[Any] = []
                closing = stopping() or time.monotonic() >= until
                if (closing or wire.stuck()) and (ready := wire.take_ready()):
                    work.give_back(ready, _now())
                room = 0 if closing else wire.room()
                if room >= max(1, _ahead(work.concurrency)):
                    taken_at = time.monotonic()
                    claimed = work.claim(room, _now())
                    runner.run(wire.take(claimed, taken_at))
                done = runner.run(wire.some()) if len(wire) else []
                if done:
                    work.finish(done, _now())
                    handled += len(done)
                    runner.run(wire.written())
                if claimed or done:
                    idle_since = time.monotonic()
                elif not len(wire) and not _worth_waiting(work, idle_since, until):
                    break
        except Exception:
            _give_back_what_can_be(work, wire)
            raise
        finally:
            runner.run(wire.session.close())
    return handled


class _Wire:
    """Calls that are on the wire, at most `concurrency` of them, those that ended and are not written yet included.

    So a worker that is killed has made no more calls than that whose outcome nobody wrote. The rows that were ready
    are in doubt with them: what it had begun is known to nobody else.
    """

    def __init__(self, work: Work, session: Any) -> None:
        self._work, self.session = work, session
        self._ready: deque[Any] = deque()
        self._taken_at = 0.0  # of the rows that are ready: none is when more are claimed
        self._ended_at: deque[float] = deque(maxlen=_ahead(work.concurrency))
        self._calls: dict[asyncio.Task, Any] = {}
        self._done: list[tuple[Any, Any]] = []
        self._unwritten = 0
        self._some = asyncio.Event()

    def __len__(self) -> int:
        """How many rows are claimed and not written."""
        return len(self._ready) + len(self._calls) + self._unwritten

    def room(self) -> int:
        """How many more rows may be claimed: for every place, and ahead as many as may hope for one soon."""
        recent = sum(at > time.monotonic() - _RECENT for at in self._ended_at)
        return self._work.concurrency + recent - len(self)

    def stuck(self) -> bool:
        """Tell whether ready rows waited too long: calls end more slowly than they did, or this process stood still."""
        return time.monotonic() - self._taken_at > _READY_FOR

    async def take(self, items: Sequence[Any], taken_at: float) -> None:
        """Take claimed rows. taken_at: the monotonic moment before they were claimed."""
        self._taken_at = taken_at
        self._ready += items
        self._fill()

    async def written(self) -> None:
        """Give the places of the calls that `some` returned to the next: their results are written."""
        self._unwritten = len(self._done)
        self._fill()

    async def some(self) -> list[tuple[Any, Any]]:
        """Wait until some calls have ended, then a moment more, so that results are written in handfuls."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                await self._some.wait()
        if self._done and self._calls:
            await asyncio.sleep(_GATHER)
        done, self._done = self._done, []
        self._some.clear()
        return done

    def take_ready(self) -> list[Any]:
        """Return the rows whose call was not begun, and forget them."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def _fill(self) -> None:
        while self._ready and len(self._calls) + self._unwritten < self._work.concurrency and not self.stuck():
            item = self._ready.popleft()
            call = asyncio.create_task(self._work.act(item, self.session))
            self._calls[call] = item
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task) -> None:
        item = self._calls.pop(call)
        if not call.cancelled():  # the loop is being torn down
            self._done.append((item, _answer(call)))
            self._unwritten += 1
            self._ended_at.append(time.monotonic())
            self._some.set()


def _ahead(concurrency: int) -> int:
    """How many rows are claimed ahead at most, and how many at least in one claim, so that claims stay few."""
    return concurrency // 4


def _worth_waiting(work: Work, idle_since: float, until: float) -> bool:
    """Sleep a little and say True while more may come: shortly after the last row, or when one is due soon."""
    due = work.next_due()
    soon = due is not None and (due - _now()) <= settings.LOOP_DUE_WITHIN
    if not soon and time.monotonic() - idle_since >= settings.LOOP_LINGER_FOR.total_seconds():
        return False
    time.sleep(min(_POLL, max(0.0, until - time.monotonic())))
    return True


def _give_back_what_can_be(work: Work, wire: _Wire) -> None:
    """Spare the rows whose call was not begun the doubt in which an error of the database leaves the others."""
    ready = wire.take_ready()
    try:
        connection.close_if_unusable_or_obsolete()
        work.give_back(ready, _now())
    except Exception as error:  # the one that brought us here is what is raised
        logger.warning("%d rows that were not begun wait until their lease runs out", len(ready), exc_info=error)


async def _open(work: Work, opened: Callable[[], Any]) -> _Wire:
    return _Wire(work, opened())


def _answer(task: asyncio.Task) -> Any:
    error = task.exception()
    if error is None:
        return task.result()
    logger.error("A call of a loop raised %s", type(error).__name__, exc_info=error)
    return error


def _now() -> datetime:
    return datetime.now(UTC)
