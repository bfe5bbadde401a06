"""The fault drills of totals and retention in their short form, and that they would notice what they look for."""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta

import pytest

from drills import totals as drills
from drills.house import House, NotAsExpected
from drills.totals_made import compare, counted, local_date, messages, stored
from drills.totals_steps import killed_at
from notify import totals
from notify.models import DailyTotal, Service
from notify.processes import ROOT, StopSignals
from notify.testing import make_notification, make_service


@pytest.fixture
def house(tmp_path):
    """A house around the tests' own database."""
    made = House(tmp_path, {}, StopSignals())
    with made.processes:
        yield made


@pytest.mark.processes
def test_every_drill_is_survived_and_leaves_nothing_behind():
    command = [sys.executable, "-m", "drills.totals", "--every", "20"]
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's path must be short
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert os.listdir(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(": survived")] == [
        f"{name}: survived" for name in drills.DRILLS
    ]


@pytest.mark.django_db(transaction=True)
def test_a_process_is_killed_before_the_chosen_step_and_not_after_its_last(house):
    def work():
        make_service(name="first")
        make_service(name="second")

    assert killed_at(house, 2, work)
    assert list(Service.objects.values_list("name", flat=True)) == ["first"]
    Service.objects.all().delete()
    assert not killed_at(house, 3, work)
    assert Service.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_kill_before_the_commit_leaves_nothing_of_the_transaction(house):
    def work():
        from django.db import transaction

        with transaction.atomic():
            make_service()

    kept = []
    step = 1
    while killed_at(house, step, work):
        kept.append(Service.objects.count())
        step += 1
    assert set(kept) == {0}
    assert Service.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_work_that_fails_by_itself_is_no_kill(house):
    def work():
        raise ValueError

    with pytest.raises(NotAsExpected, match="ended with status 1"):
        killed_at(house, 1, work)


@pytest.mark.django_db
def test_a_total_that_is_wrong_by_one_is_noticed():
    moment = datetime(2026, 3, 29, 23, 30, tzinfo=UTC)  # half past midnight in London
    make_notification(created_at=moment, sent_at=moment + timedelta(seconds=10), status="sent")
    assert local_date(moment) == date(2026, 3, 30)
    totals.store_day(date(2026, 3, 30), judged_on=date(2026, 3, 31))
    compare("Totals", stored(), counted(messages()))
    DailyTotal.objects.update(sent_within_ten_seconds=0)
    with pytest.raises(NotAsExpected, match="'quick': 0"):
        compare("Totals", stored(), counted(messages()))


def test_what_is_too_much_and_what_is_missing_is_noticed():
    with pytest.raises(NotAsExpected, match="Messages: 1 too many, 2 missing"):
        compare("Messages", {1, 2}, {2, 3, 4})


def test_impossible_options_are_refused_before_anything_starts(capsys):
    for arguments in (["--every", "0"], ["--only", "nothing"]):
        with pytest.raises(SystemExit) as refused:
            drills.main(arguments)
        assert refused.value.code == 2
        assert arguments[0] in capsys.readouterr().err
