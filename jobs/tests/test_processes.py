"""A whole installation with real processes, on a database and broker of its own; and how processes are held together.

Uses the engines of DATABASE_URL and CELERY_BROKER_URL where they are set, else the embedded ones.
"""

import csv
import json
import os
import re
import signal
import socket
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

import psutil
import psycopg2
import pytest
from kombu import Connection

from jobs.demo import read_ledger
from notify import embedded
from notify.processes import GENERAL_QUEUES, ROOT, ProcessDied, Processes, StopAsked, StopSignals, listen
from notify.schedule import QUEUES

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]

ROWS = 200
ON_WIRE = 5 * 2  # SENDING_CONCURRENCY below × LOOP_SLOTS
WAIT = 45.0  # seconds until a wait has failed
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
SET_UP = """
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from jobs.demo import prepare
prepare({simulator!r}, now=timezone.now())
often = IntervalSchedule.objects.create(every=2, period="seconds")
for task in PeriodicTask.objects.filter(crontab__minute="*"):
    task.crontab, task.interval, task.expire_seconds = None, often, 2
    task.save()
"""
CLAIM = """
from django.utils import timezone
from jobs.creation import create_job
from jobs.processing import claim_job
from notify.models import Template
template = Template.objects.get(notification_type="sms")
with open({file!r}, "rb") as stream:
    job = create_job(stream, service=template.service, template=template, file_name="x.csv", now=timezone.now())
assert claim_job(job.pk, now=timezone.now())
print(job.pk)
"""
PROCESS = """
import time
from django.utils import timezone
from jobs.models import Job
from jobs.processing import process_rows
job = Job.objects.select_related("service", "template").get(pk={job!r})
time.sleep(max(0, {begin} - time.time()))
process_rows(job, clock=timezone.now)
"""


class Installation:
    """One installation of its own: its processes, commands and database."""

    def __init__(self, var: Path, database: str | None) -> None:
        self.var = var
        self.database = database or ""
        self.processes = Processes(var, QUICK | ({"DATABASE_URL": database} if database else {}))

    def manage(self, *arguments: str) -> str:
        """Run a command to its end; returns what it printed."""
        with self.command(*arguments) as child:
            out, errors = child.communicate(timeout=WAIT)
        assert child.returncode == 0, errors
        return out

    def command(self, *arguments: str) -> Any:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.processes.environment},
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

    def create_job(self, rows: int = ROWS) -> str:
        """Upload a file of good rows; returns the job's id."""
        names = ["--service", "Demo: Anytown Council", "--template", "Appointment"]
        out = self.manage("manage.py", "create_job", *names, str(self.file(rows)))
        return re.search(r"Job ([0-9a-f-]{36}): ", out)[1]

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


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with the simulator, which takes 0.1 s to answer."""
    var = tmp_path_factory.mktemp("installation")
    with own_database(var) as database, tidy_broker(), listen(8300) as listener:
        made = Installation(var, database)
        with made.processes as processes:
            made.manage("manage.py", "migrate", "--verbosity", "0")
            web = f"http://127.0.0.1:{listener.getsockname()[1]}"
            simulator = processes.start_simulator(web, "--answer-delay", "0.1", "--receipt-delay", "0.2")
            processes.environment["CALLBACK_TRUSTED_TARGETS"] = simulator
            with made.shell(SET_UP.format(simulator=simulator)) as child:
                assert child.wait(WAIT) == 0, child.stderr.read()
            processes.start_web(listener)
            processes.start_workers()
            processes.start_beat()
            yield made


def test_a_file_goes_through_real_processes_until_every_row_is_delivered_and_told(installation):
    job = installation.create_job()
    installation.wait_until_told(job)
    assert installation.taken(job) == [1] * ROWS
    assert installation.query("SELECT status FROM jobs_job WHERE id = %s", job) == [
        ("finished all notifications created",)
    ]


def test_two_processes_on_one_job_and_a_third_later_make_each_row_once(installation):
    with installation.shell(CLAIM.format(file=str(installation.file()))) as child:
        job, errors = child.communicate(timeout=WAIT)
        job = job.strip()
        assert child.returncode == 0, errors
    process = PROCESS.format(job=job, begin=time.time() + 3)
    with installation.shell(process) as one, installation.shell(process) as two:
        ended = [child.communicate(timeout=WAIT)[1] for child in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], ended
    numbers = "SELECT job_row_number, id FROM notify_notification WHERE job_id = %s ORDER BY 1"
    rows = installation.query(numbers, job)
    assert [number for number, _ in rows] == list(range(ROWS))
    installation.wait_until_told(job)
    with installation.shell(process) as third:
        assert third.wait(WAIT) == 0, third.stderr.read()
    installation.manage("-m", "celery", "-A", "notify", "call", "jobs.process_job", "--args", json.dumps([job]))
    installation.wait_until_told(installation.create_job(5), 5)  # whatever that message did is done by now
    assert installation.query(numbers, job) == rows
    assert installation.taken(job) == [1] * ROWS


def test_a_message_that_names_a_task_of_old_is_logged_once_and_dropped_and_the_worker_lives(installation):
    worker = installation.processes.members["general"]
    before = worker.pid
    installation.manage("-m", "celery", "-A", "notify", "call", "letters.trigger_letter_pdfs_for_day")

    def complaints() -> int:
        return worker.log.read_text().count("Received unregistered task of type 'letters.trigger_letter_pdfs_for_day'")

    installation.wait(complaints, lambda: "nothing in the log")
    installation.wait_until_told(installation.create_job(5), 5)
    assert complaints() == 1
    assert (worker.pid, worker.status) == (before, None)


def test_a_worker_killed_while_sending_loses_no_row(installation):
    job = installation.create_job()
    worker = installation.processes.members["general"]
    installation.wait(lambda: sum(installation.taken(job)) > ROWS // 4, lambda: str(installation.messages(job)))
    worker.kill()
    assert installation.messages(job)["created"] > 0, "killed too late to mean anything"
    worker.start()
    installation.wait_until_told(job)
    taken = installation.taken(job)
    assert min(taken) == 1
    assert sum(taken) - ROWS <= ON_WIRE


def test_the_two_workers_share_the_queues_without_a_gap():
    assert {"watchdogs", *GENERAL_QUEUES} == set(QUEUES)


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
