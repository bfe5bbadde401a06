"""A house for drills: database, broker and processes of its own below one temporary folder, and the judgement after.

One house per process: it sets the environment before the settings are read, so importing this module imports nothing
of Django. The database is embedded, or a new one on DATABASE_URL's server; the broker is the folder, since a drill
empties it, or a drill's own (drills/sending_broker.py). Nothing reaches anybody: no worker reads the queue `callbacks`,
and `sending` ends at the simulator.
"""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
from kombu import Connection

from notify import embedded
from notify.processes import Process, ProcessDied, Processes, StopSignals

WATCHDOGS = (
    "jobs.run_scheduled_jobs",
    "jobs.check_job_status",
    "jobs.check_for_missing_rows_in_completed_jobs",
    "jobs.mark_jobs_complete",
)
BEAT_EVERY = 1.0  # seconds; stands in for the minute
WAIT = 120.0  # seconds until what is waited for counts as never coming
LEFT_FOR = 5.0  # seconds that a killed process may take to be gone
SHOWN = 5  # sentences of a kind
_POLL = 0.02  # seconds

_STANDING = """
    SELECT coalesce(sum(rows), 0), coalesce(sum(rows - told_apart), 0), coalesce(sum(made - told_apart), 0)
    FROM (
        SELECT j.notification_count AS rows, count(n.id) AS made,
            count(DISTINCT n.job_row_number) FILTER (WHERE n.job_row_number < j.notification_count) AS told_apart
        FROM jobs_job j LEFT JOIN notify_notification n ON n.job_id = j.id
        WHERE j.id = ANY(%s::uuid[]) GROUP BY j.id
    ) counted
"""


class NotAsExpected(Exception):
    """Something did not come about that a drill waited for or relies on; the text says what was seen instead."""


class House:
    """An installation that drills may break; `jobs` are those of the drill at hand, `duties` what beat publishes."""

    def __init__(self, var: Path, environment: Mapping[str, str], stop: StopSignals) -> None:
        self.var = var
        self.processes = Processes(var, environment)
        self.stop = stop
        self.jobs: list[str] = []
        self.duties: Sequence[str] = WATCHDOGS
        self.broker = ""  # where messages go instead of to the folder
        self._beaten_at = 0.0

    def begin(self) -> None:
        """Begin a drill: no message waits, and earlier jobs are nobody's concern."""
        self.purge()
        self.jobs.clear()

    def query(self, sql: str, *values: Any) -> list[tuple]:
        """Run one statement, committed at once; returns its rows, or none."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def run(self, *command: str) -> str:
        """Run `python <command>` to its end; returns what it wrote. Raises ProcessDied when it fails."""
        member = self.processes.start("command", *command)
        self.wait(lambda: member.status is not None, lambda: "the command still runs", alive=False)
        del self.processes.members["command"]
        if member.status:
            raise ProcessDied(f"{' '.join(command)} ended with status {member.status}:\n{member.tail()}")
        return member.log.read_text()

    def start_workers(self) -> Process:
        """Start a worker for the watchdogs and one for jobs; returns the latter."""
        self.processes.start_worker("watchdogs", ["watchdogs"], 1)
        return self.start_worker()

    def start_worker(self) -> Process:
        """Start the worker for jobs: two children, so that two jobs may go on at once."""
        return self.processes.start_worker("jobs", ["jobs"], 2)

    def send(self, task: str, *arguments: str, expires: float | None = None) -> None:
        """Publish one message. expires: seconds after which a worker drops it."""
        from notify.celery import app

        with Connection(self.broker) if self.broker else nullcontext() as connection:
            app.send_task(task, args=arguments, expires=expires, connection=connection)

    def beat(self) -> None:
        """Publish every duty of the drill once, as beat does each minute."""
        self._beaten_at = time.monotonic()
        for name in self.duties:
            self.send(name, expires=5 * BEAT_EVERY)

    def purge(self) -> int:
        """Throw away every message that waits; returns how many."""
        from notify.celery import app

        return app.control.purge() or 0

    def pause(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.stop.sleep(seconds)

    def wait(
        self,
        condition: Callable[[], Any],
        state: Callable[[], str],
        *,
        beating: bool = False,
        alive: bool = True,
    ) -> None:
        """Wait for something, with beat's messages every second where asked for.

        alive: whether every process must live meanwhile. Raises NotAsExpected with the state after WAIT, and
        ProcessDied when a process ended that must not.
        """
        until = time.monotonic() + WAIT
        while not condition():
            if alive:
                self.processes.check()
            if time.monotonic() > until:
                tails = [f"{name}:\n{member.tail(5)}" for name, member in self.processes.members.items()]
                raise NotAsExpected("\n".join([f"Not within {WAIT:g} seconds; seen: {state()}.", *tails]))
            if beating and time.monotonic() - self._beaten_at >= BEAT_EVERY:
                self.beat()
            self.pause(_POLL)

    def wait_until_complete(self, *, beating: bool) -> None:
        """Wait until every job of the drill has all its notifications and was counted."""
        self.wait(lambda: not self.incomplete(), lambda: "; ".join(self.incomplete()[:SHOWN]), beating=beating)

    def incomplete(self) -> list[str]:
        """Name the drill's jobs that are not in the last status, each with the status it is in."""
        last = "finished all notifications created"
        found = self.query(
            "SELECT id, status, status_reason FROM jobs_job WHERE id = ANY(%s::uuid[]) AND status <> %s ORDER BY id",
            self.jobs,
            last,
        )
        return [f"job {key} is “{status}” {reason}".rstrip() for key, status, reason in found]

    def standing(self) -> tuple[int, int, int]:
        """Count the drill's rows, those without a notification, and notifications too many."""
        rows, lost, doubled = self.query(_STANDING, self.jobs)[0]
        return int(rows), int(lost), int(doubled)

    def broken(self) -> list[str]:
        """Say what does not hold after a drill: jobs, invariants, processes that should be gone."""
        found = self.incomplete()
        found[SHOWN:] = [f"… and {len(found) - SHOWN} more jobs"] if len(found) > SHOWN else []
        try:
            self.run("manage.py", "check_invariants")
        except ProcessDied as error:
            found.append(str(error))
        until = time.monotonic() + LEFT_FOR
        while (left := self.left()) and time.monotonic() < until:
            self.pause(_POLL)
        return found + [f"process {pid} ({name}) is left" for pid, name in left]

    def left(self) -> list[tuple[int, str]]:
        """Find the processes that live in this house, the database server's left out."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # gone meanwhile, or somebody else's
                if process.environ().get("NOTIFY_VAR_DIR") == str(self.var) and process.name() != "postgres":
                    found.append((process.pid, process.name()))
        return found


@contextmanager
def open_house(settings: Mapping[str, str]) -> Iterator[House]:
    """Build a house, with these settings in the environment of everybody in it; nothing of it stays behind.

    Raises ProcessDied when its database cannot be made ready.
    """
    var = Path(tempfile.mkdtemp(prefix="drill-"))
    os.environ.pop("CELERY_BROKER_URL", None)
    own = {"NOTIFY_VAR_DIR": str(var), "NOTIFY_ENVIRONMENT": "development", "DEBUG": "false", **settings}
    os.environ.update(own, DJANGO_SETTINGS_MODULE="notify.settings", LOG_LEVEL="CRITICAL")
    try:
        with StopSignals() as stop, _database(var):
            # Killed workers leave folders behind in the temporary one: that goes with the house.
            (var / "tmp").mkdir()
            house = House(var, {**own, "LOG_LEVEL": "INFO", "TMPDIR": str(var / "tmp")}, stop)
            with house.processes:
                house.run("manage.py", "migrate", "--verbosity", "0")
                _set_up_django()
                yield house
    finally:
        shutil.rmtree(var, ignore_errors=True)


def _set_up_django() -> None:
    import django

    django.setup()
    from notify.celery import app

    app.loader.import_default_modules()


@contextmanager
def _database(var: Path) -> Iterator[None]:
    """Give a new database on DATABASE_URL's server, or an embedded server in `var`; gone afterwards."""
    server = os.environ.get("DATABASE_URL")
    if not server:
        try:
            yield
        finally:
            _disconnect()
            embedded.stop(embedded.data_directory(var))
        return
    name = f"drill_{uuid.uuid4().hex[:12]}"
    with closing(psycopg2.connect(server)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE {name}")
        os.environ["DATABASE_URL"] = urlsplit(server)._replace(path=f"/{name}").geturl()
        try:
            yield
        finally:
            os.environ["DATABASE_URL"] = server
            _disconnect()
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _disconnect() -> None:
    from django.conf import settings

    if settings.configured:
        from django.db import connections

        connections.close_all()
