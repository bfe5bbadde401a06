"""An installation of its own for tests with real processes: folder, database, broker, and commands run in it."""

import csv
import os
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from kombu import Connection

from jobs.demo import read_ledger
from notify import embedded
from notify.processes import ROOT, Processes
from notify.schedule import QUEUES

ROWS = 200
ON_WIRE = 5 * 2  # SENDING_CONCURRENCY × LOOP_SLOTS below
WAIT = 120.0  # seconds until a wait has failed; costs nothing where all is well
QUICK = {  # a killed worker's rows are free after seconds, and rows are written in several chunks
    "SENDING_CONCURRENCY": "5",
    "LOOP_SLOTS": "2",
    "SENDING_LEASE_SECONDS": "6",
    "PROVIDER_REQUEST_TIMEOUT_SECONDS": "3",
    "UNKNOWN_OUTCOME_WAIT_SECONDS": "3",
    "CALLBACK_LEASE_SECONDS": "6",
    "CALLBACK_REQUEST_TIMEOUT_SECONDS": "3",
    "JOB_CHUNK_ROWS": "20",
}


class Installation:
    """One installation of its own: its processes, commands and database."""

    def __init__(self, var: Path, database: str | None) -> None:
        self.var = var
        self.database = database or ""
        self.processes = Processes(var, QUICK | ({"DATABASE_URL": database} if database else {}))

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a command to its end; returns what it printed."""
        with self.command(*arguments, **environment) as child:
            out, errors = child.communicate(timeout=WAIT)
        assert child.returncode == 0, errors
        return out

    def command(self, *arguments: str, **environment: str) -> Any:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.processes.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def shell(self, code: str) -> Any:
        """Start Python code with the models loaded."""
        return self.command("manage.py", "shell", "--verbosity", "0", "--command", code)

    def query(self, sql: str, *values: Any) -> list[tuple]:
        """Read the database past Django, which knows another one here."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    def _connect(self) -> Any:
        if self.database:
            return psycopg2.connect(self.database)
        sockets = embedded.socket_directory(embedded.data_directory(self.var))
        return psycopg2.connect(host=str(sockets), port=5432, user=embedded.USER, dbname=embedded.DATABASE)

    def create_job(self, rows: int = ROWS, *options: str, **environment: str) -> tuple[str, str]:
        """Upload a file of good rows; returns the job's id and what was printed."""
        names = ["--service", "Demo: Anytown Council", "--template", "Appointment"]
        out = self.manage("manage.py", "create_job", *names, str(self.file(rows)), *options, **environment)
        return re.search(r"Job ([0-9a-f-]{36}): ", out)[1], out

    def file(self, rows: int = ROWS) -> Path:
        """Write a file of good rows."""
        path = self.var / f"{rows}.csv"
        with path.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["phone number", "name", "date", "place", "reference"])
            writer.writerows([f"07700 900{n:03}", f"Person {n}", "1 May", "Clinic", f"R{n}"] for n in range(rows))
        return path

    def messages(self, job: str) -> Counter:
        """Count a job's messages by status."""
        found = "SELECT status, count(*) FROM notify_notification WHERE job_id = %s GROUP BY status"
        return Counter(dict(self.query(found, job)))

    def callbacks(self, job: str) -> Counter:
        """Count the callbacks of a job's messages by status."""
        found = (
            "SELECT c.status, count(*) FROM callbacks_callback c JOIN notify_notification n ON n.id = c.notification_id"
            " WHERE n.job_id = %s GROUP BY c.status"
        )
        return Counter(dict(self.query(found, job)))

    def taken(self, job: str) -> list[int]:
        """How often the providers took each message of a job."""
        ledger = read_ledger(self.var / "simulator" / "ledger.jsonl")
        keys = self.query("SELECT id::text FROM notify_notification WHERE job_id = %s", job)
        return [ledger[key] for (key,) in keys]

    def wait_until_told(self, job: str, rows: int = ROWS) -> None:
        """Wait until every row is delivered and its service told of it."""
        everything = Counter({"delivered": rows})
        self.wait(lambda: self.callbacks(job) == everything, lambda: f"{self.messages(job)}, {self.callbacks(job)}")
        assert self.messages(job) == everything

    def wait(self, condition: Callable[[], Any], state: Callable[[], str]) -> None:
        """Wait for something; the failure shows the state and the ends of the logs."""
        until = time.monotonic() + WAIT
        while not condition():
            self.processes.check()
            if time.monotonic() > until:
                logs = [f"--- {name}\n{member.tail()}" for name, member in self.processes.members.items()]
                pytest.fail("\n".join([f"Not within {WAIT:g} s; now: {state()}", *logs]))
            time.sleep(0.2)


@contextmanager
def own_database(var: Path) -> Iterator[str | None]:
    """Give the address of a new database on DATABASE_URL's server; None for an embedded server in `var`."""
    server = os.environ.get("DATABASE_URL")
    if not server:
        data = embedded.data_directory(var)
        embedded.ensure_running(data)
        try:
            yield None
        finally:
            embedded.stop(data)
        return
    name = f"notify_processes_{uuid.uuid4().hex[:8]}"
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            try:
                yield urlsplit(server)._replace(path=f"/{name}").geturl()
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def tidy_broker() -> Iterator[None]:
    """Leave no queue of ours on CELERY_BROKER_URL's broker; the embedded one goes with its folder."""
    url = os.environ.get("CELERY_BROKER_URL")
    try:
        yield
    finally:
        if url:
            with Connection(url) as connection, connection.channel() as channel:
                for queue in QUEUES:
                    channel.queue_delete(queue)
