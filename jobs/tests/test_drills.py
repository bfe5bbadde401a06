"""The fault drills of jobs in their short form, and that they would notice what they look for."""

import os
import subprocess
import sys
import tempfile

import pytest
from django.db import connection

from drills import jobs as drills
from drills.house import House
from jobs.models import Job
from notify.models import Notification
from notify.processes import ROOT, StopSignals
from notify.testing import make_job, make_notification


@pytest.fixture
def house(tmp_path):
    """A house around the tests' own database."""
    made = House(tmp_path, {}, StopSignals())
    with made.processes:
        yield made


@pytest.fixture
def job(db, house):
    """A job of three rows whose middle row alone has its notification."""
    made = make_job(3)
    make_notification(made, 1)
    house.jobs.append(str(made.pk))
    return made


@pytest.mark.processes
def test_every_drill_is_survived_and_leaves_nothing_behind():
    command = [sys.executable, "-m", "drills.jobs", "--seed", "1", "--rows", "2000", "--kills", "2"]
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's path must be short
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert os.listdir(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Seed 1" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.endswith(": survived")] == [
        f"{name}: survived" for name in drills.DRILLS
    ]


def test_rows_without_a_notification_are_lost(house, job):
    assert house.standing() == (3, 2, 0)
    make_notification(job, 0)
    make_notification(job, 2)
    assert house.standing() == (3, 0, 0)


def test_a_job_without_any_notification_has_lost_every_row(house, job):
    Notification.objects.all().delete()
    assert house.standing() == (3, 3, 0)


def test_a_second_notification_of_a_row_is_one_too_many(house, db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE notify_notification DROP CONSTRAINT job_row_once")
    made = make_job(2)
    house.jobs.append(str(made.pk))
    for row in (0, 1, 1):
        make_notification(made, row)
    assert house.standing() == (2, 0, 1)


def test_a_notification_of_a_row_that_the_file_has_not_is_one_too_many(house, job):
    make_notification(job, 3)
    assert house.standing() == (3, 2, 1)


def test_jobs_of_an_earlier_drill_are_not_counted(house, job):
    house.jobs.clear()
    assert house.standing() == (0, 0, 0)


def test_a_job_short_of_its_last_status_is_named(house, job):
    assert house.incomplete() == [f"job {job.pk} is “finished”"]
    Job.objects.update(status=Job.Status.COMPLETE)
    assert house.incomplete() == []


@pytest.mark.processes
def test_a_process_that_is_left_is_found(house):
    sleeper = house.processes.start("sleeper", "-c", "import time; time.sleep(60)")
    assert [pid for pid, _ in house.left()] == [sleeper.pid]
    sleeper.kill()
    assert house.left() == []


@pytest.mark.parametrize("arguments", [["--kills", "0"], ["--rows", "399", "--kills", "2"], ["--only", "nothing"]])
def test_impossible_options_are_refused_before_anything_starts(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        drills.main(arguments)
    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err
