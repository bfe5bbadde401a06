"""A real clamd for tests, with one signature of our own: the EICAR test string, wherever it stands in a file."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from letters import clamd

CLAMD = "/usr/sbin/clamd"
LIMIT = 1_000_000  # bytes of one stream
VIRUS = "Test.Eicar.UNOFFICIAL"
CONFIGURATION = """
Foreground yes
{listen}
DatabaseDirectory {home}/db
TemporaryDirectory {home}
StreamMaxLength {limit}
MaxThreads 4
AlertEncrypted no
"""


class Server:
    """A running clamd; `address` is what CLAMD_SOCKET takes."""

    def __init__(self, home: Path, *, port: int = 0, signature: bytes = clamd._EICAR, extra: str = "") -> None:
        self.extra = extra
        self.home, self.port, self.signature = home, port, signature
        self.address = f"127.0.0.1:{port}" if port else f"{home}/socket"

    def start(self) -> None:
        """Start it and wait until it answers."""
        listen = f"TCPSocket {self.port}\nTCPAddr 127.0.0.1" if self.port else f"LocalSocket {self.address}"
        (self.home / "db").mkdir(exist_ok=True)
        (self.home / "db" / "test.ndb").write_text(f"Test.Eicar:0:*:{self.signature.hex()}\n")
        settings = self.home / "clamd.conf"
        settings.write_text(CONFIGURATION.format(listen=listen, home=self.home, limit=LIMIT) + self.extra)
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([CLAMD, "--config-file", str(settings)], stdout=log, stderr=log)
        until = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < until, (self.home / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it, as a machine that goes down does."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        family, address = (socket.AF_INET, ("127.0.0.1", self.port)) if self.port else (socket.AF_UNIX, self.address)
        with socket.socket(family) as line:
            line.settimeout(5)
            try:
                line.connect(address)
                line.sendall(b"zPING\0")
                return line.recv(10) == b"PONG\0"
            except OSError:
                return False


@contextmanager
def running(**options: object) -> Iterator[Server]:
    """Run a clamd of its own for one test, in a folder whose path is short enough for a socket."""
    if not shutil.which(CLAMD):
        pytest.skip("needs the system package clamav-daemon")
    with tempfile.TemporaryDirectory(prefix="clamd") as folder:
        server = Server(Path(folder), **options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def clamd_server() -> Iterator[Server]:
    """One clamd for all tests that do not harm it."""
    with running() as server:
        yield server


@pytest.fixture
def scanner(clamd_server: Server, settings: object) -> Server:
    """Have the project use it, with no self-test remembered."""
    settings.CLAMD_SOCKET = clamd_server.address
    clamd._passed.clear()
    return clamd_server
