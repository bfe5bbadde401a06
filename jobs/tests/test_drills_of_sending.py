"""The fault drills of sending in their short form, and that they would notice what they look for."""

import json
import os
import subprocess
import sys
import tempfile

import pytest

from drills.house import House, NotAsExpected
from drills.sending import run_drill
from drills.sending_broker import missing
from drills.sending_faults import DRILLS
from drills.sending_line import Line
from notify.alerts import raise_alert
from notify.models import Notification
from notify.processes import ROOT, StopSignals
from notify.testing import make_job, make_notification
from providers.tests.test_held import NOW


@pytest.mark.processes
def test_every_drill_is_survived_and_leaves_nothing_behind():
    command = [sys.executable, "-m", "drills.sending", "--seed", "1", "--rows", "1000", "--kills", "2"]
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's path must be short
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
        assert os.listdir(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line for line in done.stdout.splitlines() if line.endswith((": survived", ": not run"))]
    lacking = {"restarted-broker"} if missing() else set()
    assert verdicts == [f"{name}: {'not run' if name in lacking else 'survived'}" for name in DRILLS]


@pytest.mark.django_db
def test_without_rabbitmq_the_drill_of_its_restart_says_that_it_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("drills.sending_broker.DEBIAN", str(tmp_path))
    house = House(tmp_path, {}, StopSignals())
    found = run_drill(house, "restarted-broker", seed=1, rows=400, kills=1)
    assert (found.verdict, found.done) == ("not run", "not run: rabbitmq-server and epmd not found")
    assert (house.broker, house.processes.members, house.processes.environment.keys()) == ("", {}, {"NOTIFY_VAR_DIR"})


@pytest.fixture
def line(db, tmp_path):
    """A line whose messages and ledger are written by hand, around the tests' own database."""
    made = Line.__new__(Line)
    made.house, made.in_air, made.doubled_allowed = House(tmp_path, {}, StopSignals()), set(), 0
    made.job = make_job(5)
    made.house.jobs.append(str(made.job.pk))
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "ledger.jsonl").touch()
    return made


def message(line, *outcomes, **fields):
    """Make a message and what the ledger says of it."""
    made = make_notification(line.job, provider_name="mmg", **fields)
    enter(line, str(made.pk), *outcomes)
    return made


def enter(line, key, *outcomes):
    with (line.house.var / "simulator" / "ledger.jsonl").open("a") as ledger:
        for outcome in outcomes:
            ledger.write(json.dumps({"id": key, "channel": "sms", "outcome": outcome}) + "\n")


def judged(line):
    found = line.judge()
    return found.rows, found.lost, found.doubled, found.broken


HELD = {"due_at": None, "unknown_outcomes": 1}


def test_what_went_out_once_was_refused_or_is_held_with_an_alert_is_in_order(line):
    message(line, "try-later", "accepted", status="sending")
    message(line, "refused", status="technical-failure")
    message(line, "hung", **HELD)
    line.in_air.add(str(message(line, **HELD).pk))  # killed before the request was written
    message(line, status="validation-failed")
    raise_alert("outcome-unknown", "mmg", "x", now=NOW)
    assert judged(line) == (4, 0, 0, [])


@pytest.mark.parametrize(
    ("outcomes", "fields", "what"),
    [
        ((), {}, "lost"),
        (("try-later",), {}, "lost"),
        ((), {"status": "technical-failure"}, "lost"),
        (("accepted", "accepted"), {"status": "sending"}, "doubled"),
        (("hung", "accepted"), {"status": "sending", "unknown_outcomes": 1}, "doubled"),
    ],
)
def test_lost_and_doubled_are_seen(line, outcomes, fields, what):
    message(line, *outcomes, **fields)
    found = line.judge()
    assert (found.lost, found.doubled) == ((1, 0) if what == "lost" else (0, 1))


def test_doubled_within_what_a_drill_allows_is_none(line):
    line.doubled_allowed = 1
    first = message(line, "hung", "accepted", status="sending", unknown_outcomes=1)
    assert line.judge().doubled == 0
    enter(line, str(first.pk), "accepted")
    assert line.judge().doubled == 2


@pytest.mark.parametrize(
    ("outcomes", "fields", "sentence"),
    [
        (("hung",), {}, "were taken, are not sent and not held"),
        (("garbled",), {"status": "sending"}, "were taken without an answer and are not of unknown outcome"),
        (("garbled",), {"status": "sending"}, "count as sent and no provider said yes"),
        (("hung",), HELD, "Messages of mmg are held and no alert is open."),
    ],
)
def test_an_unknown_outcome_that_nobody_is_told_of_is_seen(line, outcomes, fields, sentence):
    message(line, *outcomes, **fields)
    assert any(sentence in one for one in line.judge().broken)


def test_a_message_that_was_in_the_air_and_counts_as_known_is_seen(line):
    line.in_air.add(str(message(line, "accepted", status="sending").pk))
    assert any("were in the air" in one for one in line.judge().broken)


def test_something_sent_that_is_no_message_is_seen(line):
    enter(line, "made up", "accepted")
    assert line.judge().broken == ["The provider was given something that is no message of this drill."]
    Notification.objects.all().delete()
    assert line.judge().rows == 0


def test_messages_that_nobody_sends_are_not_waited_for_for_ever(line, monkeypatch):
    monkeypatch.setattr("drills.house.WAIT", 0.1)
    line.house.duties = ()
    message(line)
    with pytest.raises(NotAsExpected, match="1 still to be sent"):
        line.wait_until_settled()
    Notification.objects.update(status="sending")
    line.wait_until_settled()
