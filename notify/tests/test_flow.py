"""The flow of claims, calls and results, on rows of the test's own."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from notify import flow


@pytest.fixture(autouse=True)
def hasty(settings, monkeypatch):
    """An idle loop ends soon; however slow the machine is, a call that ended is a recent one."""
    monkeypatch.setattr(flow, "_RECENT", 60.0)
    settings.LOOP_LINGER_FOR = timedelta(seconds=0.1)
    settings.LOOP_DUE_WITHIN = timedelta(0)
    settings.LOOP_FOR = timedelta(seconds=5)


class Session:
    """What a loop opens for its calls."""

    def __init__(self) -> None:
        self.loop, self.closed = asyncio.get_running_loop(), False

    async def close(self) -> None:
        self.closed = True


class Rows:
    """Work whose rows are numbers in a list; a number is how many seconds its call takes."""

    def __init__(self, rows, concurrency: int = 5) -> None:
        self.waiting, self.concurrency = list(rows), concurrency
        self.on_wire = self.most = 0
        self.limits, self.finished, self.given_back, self.sessions, self.threads = [], [], [], [], set()

    def claim(self, limit, now):
        assert now.tzinfo is UTC
        self.threads.add(threading.get_ident())
        self.limits.append(limit)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    async def act(self, item, session):
        self.sessions.append(session)
        self.on_wire += 1
        self.most = max(self.most, self.on_wire)
        try:
            await asyncio.sleep(item)
            return self.answer(item)
        finally:
            self.on_wire -= 1

    def answer(self, item):
        return f"answer to {item}"

    def finish(self, results, now):
        assert now.tzinfo is UTC
        self.threads.add(threading.get_ident())
        self.finished += [(item, answer, time.monotonic()) for item, answer in results]

    def give_back(self, items, now):
        assert now.tzinfo is UTC
        self.threads.add(threading.get_ident())
        self.given_back += items

    def next_due(self):
        return None


def run(work, seconds: float = 60) -> int:
    return flow.flow(work, until=time.monotonic() + seconds, opened=Session)


def test_every_row_is_handled_once_and_counted():
    work = Rows([0.001 * number for number in range(23)])
    rows = list(work.waiting)
    assert run(work) == 23
    assert sorted(item for item, _, _ in work.finished) == rows
    assert all(answer == f"answer to {item}" for item, answer, _ in work.finished)


def test_nothing_to_do_ends_after_lingering():
    work = Rows([])
    started = time.monotonic()
    assert run(work) == 0
    assert time.monotonic() - started >= 0.1
    assert work.finished == []


@pytest.mark.parametrize("concurrency", [1, 2, 7])
def test_no_more_calls_are_on_the_wire_than_allowed(concurrency):
    work = Rows([0.01, 0.05, 0.1] * 10, concurrency)
    assert run(work) == 30
    assert work.most == concurrency
    assert max(work.limits) <= concurrency + concurrency // 4
    assert min(work.limits) >= 1


def test_a_place_is_taken_by_the_next_when_its_result_is_written_and_before_more_is_claimed():
    class Watched(Rows):
        seen = ()

        async def act(self, item, session):
            self.on_wire += 1
            async with asyncio.timeout(60):
                while item == "waits" and not self.seen:
                    await asyncio.sleep(0.01)
            self.on_wire -= 1

        def finish(self, results, now):
            super().finish(results, now)
            if "ends" in [item for item, _ in results]:
                self.at_finish = self.on_wire

        def claim(self, limit, now):
            if any(item == "ends" for item, *_ in self.finished) and not self.seen:
                self.seen = (self.at_finish, self.on_wire)
            return super().claim(limit, now)

    work = Watched([0] * 4 + ["ends"] + ["waits"] * 4, concurrency=4)
    assert run(work) == 9
    assert work.seen == (3, 4)


def test_nothing_is_claimed_ahead_before_the_first_call_has_ended():
    work = Rows([0.1] * 20, concurrency=8)
    assert run(work) == 20
    assert work.limits[0] == 8
    assert work.limits[1] > 8


def test_rows_that_wait_in_vain_for_a_place_are_given_back_and_not_claimed_again(monkeypatch):
    monkeypatch.setattr(flow, "_READY_FOR", 0.2)

    class Hanging(Rows):
        async def act(self, item, session):
            if item == "hangs":
                async with asyncio.timeout(60):
                    while not self.given_back:
                        await asyncio.sleep(0.01)
                return await super().act(0, session)
            return await super().act(item, session)

    work = Hanging([0] * 8 + ["hangs"] * 10, concurrency=8)
    assert run(work) == 16
    assert work.given_back == ["hangs"] * 2
    assert work.waiting == []


def test_a_slow_call_does_not_hold_up_the_others():
    class OneSlow(Rows):
        async def act(self, item, session):
            async with asyncio.timeout(60):
                while item == 1 and len(self.finished) < 40:
                    await asyncio.sleep(0.01)
            return await super().act(0, session)

    work = OneSlow([1] + [0] * 40, concurrency=4)
    assert run(work) == 41
    assert [(item, answer) for item, answer, _ in work.finished] == [(0, "answer to 0")] * 40 + [(1, "answer to 0")]


def test_an_error_comes_to_finish_as_itself_and_is_logged_with_its_traceback(caplog):
    class Failing(Rows):
        def answer(self, item):
            if item:
                raise ValueError("private words")
            return "fine"

    work = Failing([0, 0.01, 0])
    assert run(work) == 3
    answers = {item: answer for item, answer, _ in work.finished}
    assert answers[0] == "fine"
    assert isinstance(answers[0.01], ValueError)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == "A call of a loop raised ValueError"
    assert record.exc_info[1] is answers[0.01]


def test_it_stops_at_its_time_and_finishes_what_is_on_the_wire():
    class Endless(Rows):
        def claim(self, limit, now):
            self.waiting += [0.05] * limit
            return super().claim(limit, now)

    work = Endless([])
    started = time.monotonic()
    handled = run(work, seconds=0.4)
    assert time.monotonic() - started >= 0.4
    assert handled == len(work.finished) == len(work.sessions)
    assert work.on_wire == 0


def test_a_time_that_has_passed_claims_nothing():
    work = Rows([0])
    assert run(work, seconds=-1) == 0
    assert work.limits == []


def test_a_worker_that_is_told_to_stop_claims_no_more(monkeypatch):
    work = Rows([0.2] * 10, concurrency=2)
    monkeypatch.setattr(flow, "stopping", lambda: bool(work.sessions))
    assert run(work) == 2
    assert len(work.waiting) == 8


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun(monkeypatch):
    work = Rows([0] * 4 + [0.3] * 10, concurrency=4)
    monkeypatch.setattr(flow, "stopping", lambda: len(work.limits) > 1)
    assert run(work) == 8
    assert (work.limits, work.given_back, len(work.waiting)) == ([4, 5], [0.3], 5)


def test_a_row_that_comes_while_the_loop_lingers_is_handled(settings):
    settings.LOOP_LINGER_FOR = timedelta(seconds=1)
    work = Rows([])
    timer = threading.Timer(0.3, lambda: work.waiting.append(0))
    timer.start()
    started = time.monotonic()
    assert run(work) == 1
    timer.join()
    assert time.monotonic() - started >= 1.2  # lingers anew after the row


@pytest.mark.parametrize(("due_in", "handled"), [(0.6, 1), (300, 0)])
def test_it_waits_for_a_row_that_is_due_soon_and_for_no_other(settings, due_in, handled):
    settings.LOOP_DUE_WITHIN = timedelta(seconds=60)
    due = datetime.now(UTC) + timedelta(seconds=due_in)

    class Later(Rows):
        def claim(self, limit, now):
            return super().claim(limit, now) if now >= due else []

        def next_due(self):
            return due if self.waiting else None

    started = time.monotonic()
    assert run(Later([0])) == handled
    assert time.monotonic() - started < 30  # for the other it would wait to the end of its time


def test_one_session_is_open_for_all_calls_and_closed_at_the_end():
    work = Rows([0.01] * 12)
    run(work)
    (session,) = set(work.sessions)
    assert session.closed


def test_rows_are_claimed_and_written_in_the_callers_thread():
    work = Rows([0.01] * 12)
    run(work)
    assert work.threads == {threading.get_ident()}


def test_an_error_while_claiming_ends_the_loop_with_its_session_closed():
    class Broken(Rows):
        def claim(self, limit, now):
            if self.sessions:
                raise RuntimeError("the database is gone")
            return super().claim(limit, now)

    work = Broken([0.01, 0.5], concurrency=2)
    with pytest.raises(RuntimeError, match="gone"):
        run(work)
    assert work.sessions[0].closed
    assert work.on_wire == 0  # what was on the wire was cut, its lease runs out


def test_an_error_gives_back_the_rows_whose_call_was_not_begun(db):
    class Broken(Rows):
        def finish(self, results, now):
            if len(self.limits) > 1:
                raise RuntimeError("the database is gone")
            super().finish(results, now)

    work = Broken([0] * 4 + [0.01] * 5, concurrency=4)
    with pytest.raises(RuntimeError, match="gone"):
        run(work)
    assert (work.limits, work.given_back) == ([4, 5], [0.01])


def test_what_became_too_old_while_the_worker_stood_still_is_given_back_and_not_begun(monkeypatch):
    class Frozen(Rows):
        def finish(self, results, now):
            super().finish(results, now)
            if len(self.limits) == 2 and not self.given_back:
                monkeypatch.setattr(flow, "_READY_FOR", 0.0)  # as if hours had passed

    work = Frozen([0] * 4 + ["first", *["waits"] * 4], concurrency=4)
    begun = []

    async def act(item, session):
        begun.append(item)
        async with asyncio.timeout(60):
            while item == "waits" and not work.given_back:
                await asyncio.sleep(0.01)

    work.act = act
    assert run(work) == 8
    assert (begun.count("waits"), work.given_back) == (3, ["waits"])
