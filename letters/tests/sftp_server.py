"""A real SSH server on this machine, run as the current user, with its own keys below a folder of the tests."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SSHD, KEYGEN = "/usr/sbin/sshd", "/usr/bin/ssh-keygen"
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/host
PidFile {home}/pid
AuthorizedKeysFile {home}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


@dataclass
class Server:
    """Where it listens, and the address of a storage on it."""

    home: Path
    port: int
    process: subprocess.Popen

    def address(self, folder: Path, *, known_hosts: Path | None = None) -> str:
        """Return the address of a storage in a folder."""
        options = f"key={self.home}/user&known_hosts={known_hosts or self.home / 'known_hosts'}"
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{folder}?{options}"

    def cut(self) -> int:
        """End every open connection, as when a line is cut. Returns how many processes served them."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=5)
        return len(children)


def missing() -> str:
    """Name the system package that is needed and not there, or "" where nothing is missing."""
    return "" if shutil.which(SSHD) and shutil.which(KEYGEN) else "needs the system package openssh-server"


@contextmanager
def running(home: Path) -> Iterator[Server]:
    """Start the server; it is gone afterwards."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it gives up its rights
    for name in ("host", "user"):
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "config").write_text(_CONFIG.format(port=port, home=home))
    (home / "known_hosts").write_text(f"[127.0.0.1]:{port} {(home / 'host.pub').read_text()}")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", home / "config"], stderr=log)
    server = Server(home, port, process)
    try:
        _wait(server)
        yield server
    finally:
        server.cut()
        process.terminate()
        process.wait(timeout=10)


def _wait(server: Server) -> None:
    until = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        if server.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"sshd did not start: {(server.home / 'log').read_text()}")
        time.sleep(0.02)
