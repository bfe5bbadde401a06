"""The fault drills of alerts in their short form, and that they would notice what they look for."""

import os
import subprocess
import sys
import tempfile

import pytest

from drills import alerts as drills
from drills.alerts_receivers import Receivers
from notify.processes import ROOT


@pytest.mark.processes
def test_every_drill_is_survived_and_leaves_nothing_behind():
    command = [sys.executable, "-m", "drills.alerts", "--seed", "1", "--alerts", "6", "--kills", "2"]
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's path must be short
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert os.listdir(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(": survived")] == [
        f"{name}: survived" for name in drills.DRILLS
    ]


@pytest.mark.parametrize(
    ("webhook", "email", "excused", "judged"),
    [
        ({"a": 1, "b": 1}, {"a": 1, "b": 1}, 0, (0, 0)),
        ({"a": 1}, {"a": 1, "b": 1}, 9, (1, 0)),  # nothing excuses a loss
        ({}, {}, 0, (4, 0)),
        ({"a": 2, "b": 1}, {"a": 1, "b": 3}, 0, (0, 3)),
        ({"a": 2, "b": 1}, {"a": 1, "b": 3}, 2, (0, 1)),
        ({"a": 2, "b": 1}, {"a": 1, "b": 3}, 3, (0, 0)),
    ],
)
def test_what_is_lost_or_comes_twice_is_counted(webhook, email, excused, judged):
    receivers = Receivers()
    receivers.arrived["webhook"].update(webhook)
    receivers.arrived["email"].update(email)
    assert drills.judge(receivers, ["a", "b"], excused=excused) == judged


@pytest.mark.parametrize("arguments", [["--kills", "0"], ["--alerts", "1", "--kills", "2"], ["--only", "nothing"]])
def test_impossible_options_are_refused_before_anything_starts(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        drills.main(arguments)
    assert refused.value.code == 2
    assert arguments[0] in capsys.readouterr().err
