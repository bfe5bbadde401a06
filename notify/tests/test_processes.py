"""Processes that are started, watched and stopped together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from notify.processes import GENERAL_QUEUES, ROOT, ProcessDied, Processes, StopAsked, StopSignals, listen
from notify.schedule import QUEUES

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({ready!r}).write_text(str(child.pid))
time.sleep(60)
"""


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path):
    ready = tmp_path / "ready"
    with Processes(tmp_path) as processes:
        stubborn = processes.start("stubborn", "-c", STUBBORN.format(ready=str(ready)))
        assert wait_for(lambda: ready.exists() and ready.read_text())
        processes.stop(within=0.2)
    assert stubborn.status == -signal.SIGKILL
    assert wait_for(lambda: gone(int(ready.read_text())))


def test_the_first_started_is_stopped_last(tmp_path):
    note = "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(open({0!r}, 'a').write({1!r})))\n"
    order = tmp_path / "order"
    with Processes(tmp_path) as processes:
        for name in ("first", "second", "third"):
            code = note.format(str(order), f"{name} ") + "print('ready', flush=True); time.sleep(60)"
            member = processes.start(name, "-c", code)
            assert wait_for(lambda member=member: "ready" in member.tail())
    assert order.read_text().split()[-1] == "first"
    assert sorted(order.read_text().split()) == ["first", "second", "third"]


def test_one_that_ends_by_itself_is_named_with_its_last_words(tmp_path):
    with Processes(tmp_path) as processes:
        processes.start("well", "-c", "import time; time.sleep(60)")
        ill = processes.start("ill", "-c", "import sys; sys.exit('could not go on')")
        assert ill.wait(10)
        with pytest.raises(ProcessDied, match=r"(?s)ill ended with status 1.*could not go on"):
            processes.check()


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import pathlib, time\nfrom notify.processes import Processes\n"
        f"p = Processes(pathlib.Path({str(tmp_path)!r})).start('sleeper', '-c', 'import time; time.sleep(60)')\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    assert wait_for(lambda: gone(pid))


def test_listen_takes_the_next_port_when_one_is_taken():
    with listen(18_000) as taken, listen(taken.getsockname()[1]) as other:
        assert other.getsockname()[1] == taken.getsockname()[1] + 1
        with socket.create_connection(other.getsockname(), timeout=5):
            pass


def test_stop_signals_are_noted_however_often_and_end_a_sleep():
    heard = []
    with StopSignals(lambda: heard.append(1)) as signals:
        signals.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(StopAsked):
            signals.sleep(60)
    assert heard == [1]


def test_the_two_workers_share_the_queues_without_a_gap():
    assert {"watchdogs", *GENERAL_QUEUES} == set(QUEUES)
