"""PostgreSQL under var/, for an installation without a database server: started by need, stopped by its last user.

Beside the data lie
* `postgres.lock`: whoever starts or stops the server holds it, so that this happens one at a time;
* `postgres.users`: every process that uses the server holds a shared lock on it for as long as it lives. The one that
  can make its lock exclusive is the last, and stops the server. The kernel takes the lock from a process that is
  killed and does not hand it to a forked child, so that nobody is counted wrongly;
* `postgres.log`: what the server has to say, without personal data.
"""

import atexit
import fcntl
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from notify.postgresql import programs
from notify.postgresql.programs import PORT, EmbeddedPostgresError

USER = DATABASE = "notify"

_SOCKET_DIRECTORY_BYTES = 85  # a socket's path holds 107 bytes on Linux and 103 on macOS, its name included
_PASSING = ("Is the server running", "the database system is", "still in use")  # errors that go away by themselves
_joined: dict[Path, tuple[int, int]] = {}  # data directory: our process, its descriptor of postgres.users


def data_directory(var: Path) -> Path:
    """Return where the data lies below `var`, links resolved, so that every process means the same server."""
    return var.resolve() / "postgres"


def socket_directory(data: Path) -> Path:
    """Return the folder of the server's socket: the data itself, or a short one where that path would be too long.

    Either is open to its user alone (0700). Makes nothing.
    """
    name = os.fsencode(data)
    if len(name) <= _SOCKET_DIRECTORY_BYTES:
        return data
    return Path(tempfile.gettempdir()) / f"notify-{os.geteuid()}-{hashlib.sha256(name).hexdigest()[:16]}"


def ensure_running(data: Path) -> bool:
    """See to it that the server answers and has the database, and count this process among its users.

    Costs one connection when it runs already. Returns True if this call started it.
    Raises EmbeddedPostgresError.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        _check_socket_directory(data)
        _join(data)
        if _answers(data):
            return False
        with _turn(data):
            return not _answers(data) and _bring_up(data)
    except OSError as error:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot use {error.filename or data.parent} ({error.strerror}). "
            "Give this user access to it, or set DATABASE_URL to a PostgreSQL server."
        ) from error


def stop(data: Path) -> None:
    """Stop the server, whoever uses it: their connections are cut, and their next one starts it again."""
    if data.exists():
        with _turn(data):
            programs.stop(data)


def stop_if_last() -> None:
    """Give up this process's use of every server; one that nobody else uses is stopped.

    Runs at exit; a command that ends on a signal calls it itself. A forked child has nothing to give up until it has
    called `ensure_running`. Twice is harmless.
    """
    for data, (pid, users) in list(_joined.items()):
        if pid != os.getpid() or not data.exists():
            continue
        with _turn(data):  # one leaves at a time: two that left together would each see the other and stop nothing
            try:
                fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                programs.stop(data)
            except (BlockingIOError, PermissionError):
                pass  # somebody else uses it
            finally:
                del _joined[data]
                os.close(users)


def _join(data: Path) -> None:
    """Hold the shared lock on postgres.users; waits while the last user is stopping the server."""
    if _joined.get(data, (0, 0))[0] == os.getpid():
        return
    users = os.open(data.with_name(f"{data.name}.users"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.lockf(users, fcntl.LOCK_SH)
    # Kept open until we leave: closing any of a process's descriptors of a file drops all its locks on that file.
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
            fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: a child forked meanwhile holds it open too


def _check_socket_directory(data: Path) -> None:
    """Make a socket directory outside the data; refuse one that another user made or can look into."""
    sockets = socket_directory(data)
    if sockets == data:
        return
    sockets.mkdir(mode=0o700, exist_ok=True)
    found = sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedPostgresError(f"{sockets} belongs to another user or is open to others. Remove it.")


def _bring_up(data: Path) -> bool:
    """Start the server, unless it is there and only busy starting, and create the database. Under `_turn`."""
    started = False
    give_up_at = time.monotonic() + programs.START_SECONDS
    while True:
        try:
            if not programs.alive(data):
                programs.initialise(data, USER)
                programs.start(data, socket_directory(data))
                started = True
            _create_database(data)
            return started
        except (psycopg2.OperationalError, EmbeddedPostgresError) as error:
            reason = " ".join(str(error).split())
            if time.monotonic() > give_up_at or not any(words in reason for words in _PASSING):
                raise EmbeddedPostgresError(reason) from error
        time.sleep(0.1)


def _answers(data: Path) -> bool:
    try:
        _connect(data, DATABASE).close()
    except psycopg2.OperationalError:
        return False
    return True


def _create_database(data: Path) -> None:
    with closing(_connect(data, "postgres")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
        if cursor.fetchone() is None:
            cursor.execute("CREATE DATABASE notify")


def _connect(data: Path, database: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=str(socket_directory(data)), port=PORT, user=USER, dbname=database)
