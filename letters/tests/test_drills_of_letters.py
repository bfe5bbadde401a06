"""The fault drills of letters in their short form, each with real processes; the others run by `make drill`."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from letters.tests import clamd_server, sftp_server
from notify.processes import ROOT

NO_CLAMD = "" if shutil.which(clamd_server.CLAMD) else "needs the system package clamav-daemon"
NO_SSHD = sftp_server.missing()
CLAMD = pytest.mark.skipif(bool(NO_CLAMD), reason=NO_CLAMD)
SSHD = pytest.mark.skipif(bool(NO_SSHD), reason=NO_SSHD)
SHORT = [
    pytest.param("kills", 300, id="collating killed"),
    pytest.param("scanner-killed", 100, id="clamd killed", marks=CLAMD),
    pytest.param("line-cut", 100, id="sftp line cut", marks=SSHD),
]


@pytest.mark.processes
@pytest.mark.parametrize(("name", "letters"), SHORT)
def test_a_drill_is_survived_and_leaves_nothing_behind(name, letters):
    command = [sys.executable, "-m", "drills.letters", "--seed", "1", "--kills", "2"]
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path: a socket's path must be short
        done = subprocess.run(
            [*command, "--only", name, "--letters", str(letters)],
            cwd=ROOT, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert os.listdir(folder) == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: survived" in done.stdout.splitlines()
