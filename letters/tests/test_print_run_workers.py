"""The daily print run among others: two workers, cancelling meanwhile, a pause, a worker told to stop."""

from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction

from letters import print_files, print_run
from letters.cancelling import cancel_letters
from letters.models import LetterHold, PrintRun
from letters.tests import print_runs
from letters.tests.print_runs import AT, DAY, DEADLINE, NOON, letter, run, statuses
from letters.tests.storages import members
from notify.loops import InTransaction, slot
from notify.testing import make_service
from notify.tests.together import together
from providers.models import Pause

pytestmark = pytest.mark.django_db
threads = pytest.mark.django_db(transaction=True)
folder = print_runs.folder


@threads
def test_two_workers_at_once_send_each_letter_once(folder):
    letters = [letter() for _ in range(6)]

    def work():
        with suppress(print_run.Busy):
            return run()

    together(work, work)
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert PrintRun.objects.count() == 1


@threads
def test_while_one_worker_collates_another_is_told_so_and_a_dead_worker_frees_its_place():
    def refused():
        with suppress(print_run.Busy):
            return run()

    def die():
        with slot(print_run.LOCK, places=1) as mine:
            connection.close()  # as when a worker dies: the lock goes with its connection
        return mine

    letter()
    with slot(print_run.LOCK, places=1):
        assert together(refused) == [None]
    assert together(die) == [True]
    assert together(refused)[0]["letters"] == 1


@threads
def test_without_the_lock_two_workers_still_pack_each_letter_once(folder):
    letters = [letter() for _ in range(8)]
    PrintRun.objects.create(day=DAY, deadline=DEADLINE)

    def work():
        day = PrintRun.objects.get()
        with suppress(Exception):  # the sequence is taken: the loser would begin again
            print_run._work(day, {"letters": 0, "zips": 0}, clock=lambda: AT, until=1e12)

    together(work, work)
    run()
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert set(statuses().values()) == {"sent"}


def test_a_letter_cancelled_while_its_zip_is_packed_is_left_out(monkeypatch, folder):
    service = make_service()
    gone, stays = letter(service=service), letter(service=service)
    real = print_files.assign

    def late(*args, **kwargs):
        monkeypatch.undo()
        LetterHold.objects.create(service=service, reason="cancelling is possible while held")
        assert len(cancel_letters([gone.pk], now=AT)) == 1
        LetterHold.objects.all().delete()
        return real(*args, **kwargs)

    monkeypatch.setattr(print_files, "assign", late)
    run()
    assert statuses() == {gone.pk: "cancelled", stays.pk: "sent"}
    assert set(members(folder)) == {str(stays.pk)}


def test_a_pause_keeps_letters_back_and_they_go_when_it_ends():
    one = letter()
    pause = Pause.objects.create(reason="a test", paused_at=NOON)
    with pytest.raises(print_run.Paused):
        run()
    assert not PrintRun.objects.exists()
    Pause.objects.filter(pk=pause.pk).update(ended_at=AT)
    run(AT + timedelta(hours=5))
    assert statuses()[one.pk] == "sent"


def test_a_worker_told_to_stop_stops_between_zips_and_the_next_goes_on(monkeypatch, folder):
    letters = [letter() for _ in range(2)]
    answers = iter([False, True])
    monkeypatch.setattr(print_run, "stopping", lambda: next(answers))
    assert run() == {"letters": 1, "zips": 1, "unfinished": 1}
    monkeypatch.undo()
    assert run()["letters"] == 1
    assert len(members(folder)) == len(letters)


def test_is_refused_inside_a_transaction():
    with pytest.raises(InTransaction), transaction.atomic():
        run()
