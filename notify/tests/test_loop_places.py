"""Where a loop may run: outside transactions, in one of a few places shared over all workers; and what is due."""

import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import Error, connection, transaction

from notify import loops, testing
from notify.models import Notification

SECOND = timedelta(seconds=1)


def test_a_transaction_is_refused_but_not_the_tests_own(db):
    loops.refuse_transaction()
    with transaction.atomic(), pytest.raises(loops.InTransaction, match="must not run inside a transaction"):
        loops.refuse_transaction()
    loops.refuse_transaction()


def test_a_loop_inside_a_transaction_never_begins(db):
    called = []
    with transaction.atomic(), pytest.raises(loops.InTransaction):
        loops.in_slots("test", lambda until: called.append(until) or 0, waiting=lambda: False)
    assert called == []


class Holder:
    """Another connection that holds a place of a loop until it is told to let go (or its connection is cut)."""

    def __init__(self, name: str, *, dies: bool = False, inside: Any = nullcontext) -> None:
        self.inside = inside
        self.name, self.dies, self.taken, self.let_go, self.pid = name, dies, None, threading.Event(), 0
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.hold)

    def hold(self) -> None:
        try:
            connection.ensure_connection()
            self.pid = connection.connection.info.backend_pid
            with loops.slot(self.name) as self.taken, self.inside():
                Notification.objects.exists()  # a transaction begins with its first statement
                self.ready.set()
                self.let_go.wait(60)
        except Error:
            assert self.dies
        finally:
            connection.close()
            self.ready.set()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.let_go.set()
        self.thread.join()


@pytest.fixture
def one_place(db, settings):
    settings.LOOP_SLOTS = 1
    return settings


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [nullcontext, transaction.atomic])
def test_a_frozen_holder_keeps_nobody_out_for_long_wherever_it_stopped(settings, inside):
    settings.LOOP_SLOTS, settings.LOOP_FROZEN_AFTER = 1, SECOND
    with Holder("test", dies=True, inside=inside) as frozen:
        assert frozen.taken
        with loops.slot("test") as mine:
            assert not mine
        time.sleep(1.5)
        with loops.slot("test") as mine:
            assert mine


@pytest.mark.django_db(transaction=True)
def test_whoever_gave_a_place_back_may_be_idle(settings):
    with loops.slot("test") as mine:
        assert mine
    with connection.cursor() as cursor:
        for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SHOW {setting}")
            assert cursor.fetchone() == ("0",)


def test_when_all_places_are_taken_a_nudge_returns_at_once(one_place):
    with Holder("test") as other:
        assert other.taken
        assert loops.in_slots("test", lambda until: pytest.fail("ran"), waiting=lambda: True) == 0
    assert loops.in_slots("test", lambda until: 3, waiting=lambda: False) == 3


def test_there_are_as_many_places_as_the_setting_says(one_place):
    one_place.LOOP_SLOTS = 2
    with Holder("test") as first, Holder("test") as second, Holder("test") as third:
        assert [first.taken, second.taken, third.taken] == [True, True, False]


def test_loops_of_other_names_do_not_share_places(one_place):
    with Holder("test"), loops.slot("another") as mine:
        assert mine


def test_the_place_of_a_connection_that_died_is_free(one_place):
    with Holder("test", dies=True) as other:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [other.pid])
        with loops.slot("test") as mine:
            assert mine


def test_an_error_in_the_work_gives_the_place_back(one_place):
    def fails(until):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        loops.in_slots("test", fails, waiting=lambda: False)
    with Holder("test") as other:
        assert other.taken


def test_it_looks_once_more_after_the_place_was_given_back(one_place):
    """A nudge that found the place taken must not be lost."""
    rounds = iter([True, True, False])
    with_place = []

    def waiting():
        with Holder("test") as other:  # the place is free while the question is asked
            with_place.append(other.taken)
        return next(rounds)

    assert loops.in_slots("test", lambda until: 2, waiting=waiting) == 6
    assert with_place == [True, True, True]


def test_it_gives_up_its_place_for_good_when_its_time_is_over(one_place):
    one_place.LOOP_FOR = timedelta(seconds=0.2)
    moments = []

    def work(until):
        moments.append(until)
        time.sleep(0.15)
        return 1

    assert loops.in_slots("test", work, waiting=lambda: True) == 2
    assert len(set(moments)) == 1  # one deadline for all rounds
    one_place.LOOP_FOR = timedelta(0)
    assert loops.in_slots("test", lambda until: 1, waiting=lambda: True) == 1


def test_due_counts_names_the_oldest_and_shows_ten_keys(db):
    template, now = testing.make_template(), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    empty = loops.Due.of(Notification.objects.due(now), "due_at")
    assert (empty.count, empty.oldest, empty.keys) == (0, None, [])
    rows = [testing.make_notification(template=template, due_at=now - number * SECOND) for number in range(11)]
    found = loops.Due.of(Notification.objects.due(now), "due_at")
    assert (found.count, found.oldest) == (11, now - 10 * SECOND)
    assert found.keys == [str(row.pk) for row in reversed(rows)][:10]
