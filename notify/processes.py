"""The processes of one installation, started and stopped together: for the demo, process tests and drills.

Each leads a session of its own, so that the terminal's Ctrl-C reaches only whoever started them, who stops them in
order. Each is told to end when its parent dies, whatever killed that. What they print goes to one file each.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from notify.schedule import QUEUES

ROOT = Path(__file__).resolve().parent.parent
STOP_WITHIN = 15.0  # seconds from SIGTERM to SIGKILL; a loop of a worker ends within PROVIDER_REQUEST_TIMEOUT
GENERAL_QUEUES = tuple(queue for queue in QUEUES if queue != "watchdogs")
PORTS_TRIED = 20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_POLL = 0.1  # seconds
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>; other systems have no prctl
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up here: after a fork little is safe


class ProcessDied(RuntimeError):
    """A process ended by itself; the text says which, and the last lines it wrote."""


class StopAsked(Exception):
    """A person, or the system, asked to stop."""


class StopSignals:
    """Notes Ctrl-C, SIGTERM and SIGHUP, however often, instead of being torn up by them; see `check` and `sleep`.

    heard: called with nothing at the first signal. Signals that were blocked until now are let in.
    """

    def __init__(self, heard: Callable[[], None] = lambda: None) -> None:
        self.asked = False
        self._heard = heard
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def ignore(self) -> None:
        """Ignore them from here to the end of this process; programs it starts do so too."""
        self._before = dict.fromkeys(STOP_SIGNALS, signal.SIG_IGN)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            self._heard()

    def check(self) -> None:
        """Raise StopAsked when somebody did."""
        if self.asked:
            raise StopAsked

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise StopAsked as soon as somebody asks."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(_POLL, left))
        self.check()


class Process:
    """One process and its children; `start` may be called again after it ended."""

    def __init__(self, name: str, command: Iterable[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = [sys.executable, *command]
        self.log = log
        self.environment = environment
        self.pass_fds: tuple[int, ...] = ()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its number; 0 before the first start."""
        return self._child.pid if self._child else 0

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._child.poll() if self._child else None

    def start(self) -> None:
        """Start it; call from the main thread, since the kernel takes the end of a thread for the parent's death."""
        parent = os.getpid()

        def tie_to_parent() -> None:
            if _prctl:
                _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab" if self._child else "wb") as out:
            self._child = subprocess.Popen(  # noqa: S603 our own commands
                self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.pass_fds,
                preexec_fn=tie_to_parent,
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, if it runs."""
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    def wait(self, within: float) -> bool:
        """Wait for its end, in seconds; says whether it came."""
        try:
            if self._child:
                self._child.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and its children without a chance to tidy up."""
        if self._child:
            with suppress(ProcessLookupError, PermissionError):  # all gone; macOS says it the second way
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines it wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Processes:
    """The processes of one installation, by name; leaving the block stops them, the first started last.

    var: the installation's folder, whose log/ gets their output. environment: added to our own.
    """

    def __init__(self, var: Path, environment: Mapping[str, str] | None = None) -> None:
        self.var = var
        self.environment = {"NOTIFY_VAR_DIR": str(var), **(environment or {})}
        self.members: dict[str, Process] = {}
        self.pass_fds: tuple[int, ...] = ()  # held open by every member

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, *command: str, pass_fds: tuple[int, ...] = ()) -> Process:
        """Start `python <command>` in the project's folder."""
        member = Process(name, command, log=self.var / "log" / f"{name}.log", environment=self.environment)
        member.pass_fds = self.pass_fds + pass_fds
        self.members[name] = member
        member.start()
        return member

    def start_simulator(self, web: str, *options: str, stop: StopSignals | None = None) -> str:
        """Start the providers' simulator; returns its host:port once it listens. Raises ProcessDied."""
        ready = self.var / "simulator" / "ready"
        ready.unlink(missing_ok=True)
        given = ["--web", web, "--ready-file", str(ready), *options]
        self.start("simulator", "manage.py", "simulate_providers", *given)
        while not ready.exists():
            self.check()
            (stop or StopSignals()).sleep(_POLL)
        return ready.read_text()

    def start_web(self, listener: socket.socket) -> Process:
        """Start the web process on a socket that listens already: requests wait until it is ready."""
        handle = listener.fileno()
        load = ["--worker-class", "gthread", "--workers", "2", "--threads", "8", "--graceful-timeout", "5"]
        options = ["--bind", f"fd://{handle}", "--no-control-socket", *load]
        return self.start("web", "-m", "gunicorn", *options, "notify.wsgi", pass_fds=(handle,))

    def start_worker(self, name: str, queues: Iterable[str], concurrency: int) -> Process:
        """Start a Celery worker with `concurrency` children."""
        options = ["--hostname", f"{name}@%h", "--queues", ",".join(queues), "--concurrency", str(concurrency)]
        options += ["--without-gossip", "--without-mingle"]
        return self.start(name, "-m", "celery", "-A", "notify", "worker", *options)

    def start_workers(self) -> None:
        """Start the two workers an installation needs at least."""
        self.start_worker("watchdogs", ["watchdogs"], 1)
        self.start_worker("general", GENERAL_QUEUES, 6)

    def start_beat(self) -> Process:
        """Start the scheduler; one per installation."""
        return self.start("beat", "-m", "celery", "-A", "notify", "beat")

    def check(self) -> None:
        """Raise ProcessDied when one is gone that was not stopped."""
        for name, member in self.members.items():
            if member.status is not None:
                raise ProcessDied(f"{name} ended with status {member.status}; {member.log} ends:\n{member.tail()}")

    def stop(self, *, within: float = STOP_WITHIN) -> None:
        """Stop all but the first started at once, then that one: SIGTERM, and SIGKILL for the group after `within`."""
        first, *others = self.members.values() or [None]
        for stage in (others[::-1], [first] if first else []):
            for member in stage:
                member.signal(signal.SIGTERM)
            until = time.monotonic() + within
            for member in stage:
                member.wait(max(0.0, until - time.monotonic()))
                member.kill()
        self.members.clear()


def listen(first: int, host: str = "127.0.0.1") -> socket.socket:
    """Return a socket that listens on the first free port from `first` on, or on any where twenty are taken."""
    for port in (*range(first, min(first + PORTS_TRIED, 65_536)), 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1024)
        except OSError:
            listener.close()
        else:
            return listener
    raise OSError(f"No port is free on {host}.")
