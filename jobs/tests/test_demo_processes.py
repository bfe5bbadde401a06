"""The demonstration, stopped in its tracks: it ends quietly and leaves nothing running."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from notify import embedded
from notify.processes import ROOT

pytestmark = pytest.mark.processes


def start_demo(var, *options):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *options],
        cwd=ROOT,
        env=environment | {"NOTIFY_VAR_DIR": str(var), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def read_until(child, words):
    lines = []
    for line in child.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    pytest.fail(f"It ended without “{words}”:\n{''.join(lines)}")


def left_running(var):
    """Processes that were started for this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NOTIFY_VAR_DIR") == str(var) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def lock_is_free(var):
    with (var / "demo.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.mark.parametrize("words", ["Database:", "Starting", "Uploaded"])
def test_ctrl_c_at_any_moment_ends_quietly_and_leaves_nothing_running(tmp_path, words):
    with start_demo(tmp_path) as child:
        out = read_until(child, words)
        for _ in range(2):  # people press it twice
            os.killpg(child.pid, signal.SIGINT)
            time.sleep(0.3)
        out += child.communicate(timeout=45)[0]
    assert child.returncode == 130, out
    assert "Traceback" not in out
    assert left_running(tmp_path) == []


def test_what_a_killed_demo_started_ends_and_the_next_one_runs(tmp_path):
    with start_demo(tmp_path) as child:
        read_until(child, "Uploaded")
        child.kill()
    try:
        with start_demo(tmp_path) as child:  # waits for what is left of the first
            out = read_until(child, "Uploaded")
            child.terminate()
            out += child.communicate(timeout=45)[0]
        assert child.returncode == 130, out
        assert lock_is_free(tmp_path)
        assert left_running(tmp_path) == []
    finally:
        embedded.stop(embedded.data_directory(tmp_path))
