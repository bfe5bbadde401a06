"""`manage.py demo`: a whole installation with simulated providers, from an uploaded file to delivered callbacks."""

import fcntl
import logging
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone
from rich.console import Console

from jobs import demo
from jobs.creation import JobRefused, create_job
from jobs.demo_progress import Board, summarise
from jobs.models import Job
from jobs.recipients_file import FileProblem
from jobs.tasks import process_job
from notify import embedded
from notify.embedded import EmbeddedPostgresError
from notify.processes import ProcessDied, Processes, StopAsked, StopSignals, listen

WEB_PORT, SIMULATOR_PORT = 8000, 8100  # the first ports that are tried
LOOK_EVERY = 0.4  # seconds between looks at the figures
STUCK_AFTER = 180.0  # seconds without any change; a lost wake-up costs a minute, a lapsed lease another
LOCK_WAIT = 30.0  # seconds an earlier run gets to end
STOPPED = 130  # exit status of a program that Ctrl-C ended
# With --kill-worker: nobody waits ten minutes for the receipts of what was on the wire.
SHORT_WAITS = {
    "PROVIDER_REQUEST_TIMEOUT_SECONDS": "4",
    "SENDING_LEASE_SECONDS": "8",
    "UNKNOWN_OUTCOME_WAIT_SECONDS": "5",
    "CALLBACK_REQUEST_TIMEOUT_SECONDS": "4",
    "CALLBACK_LEASE_SECONDS": "8",
}
PROBLEMS = (EmbeddedPostgresError, DatabaseError, ProcessDied, demo.DemoRefused, FileProblem, JobRefused, OSError)


class Command(BaseCommand):
    """Exit status: 0 all is accounted for (or stopped while idle), 1 not, 3 cannot run here, 130 stopped before."""

    help = "Run a whole installation with simulated providers: 5,008 rows become messages, receipts and callbacks."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the variations."""
        parser.add_argument("--exit", action="store_true", help="end by itself; exit status 0 if all is accounted for")
        parser.add_argument("--kill-worker", action="store_true", help="kill a worker when a third is sent, go on")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until done, or until Ctrl-C; leaves nothing running."""
        self.console = Console(emoji=False)
        logging.getLogger("notify").setLevel(logging.WARNING)  # what it says at a first start is not for here
        with StopSignals(self._heard) as self.signals:
            try:
                status = self._run(**options)
            except StopAsked:
                status = STOPPED
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; say no more
                status = 1
            except PROBLEMS as problem:
                status = STOPPED if self.signals.asked else self._fail(problem)
        if status:
            raise SystemExit(status)

    def _run(self, *, exit: bool, kill_worker: bool, **options: Any) -> int:
        self._say(f"Database: {_database()}\nBroker: {_broker()}")
        with ExitStack() as stack:
            lock = stack.enter_context(self._one_at_a_time())
            stack.callback(self._leave_database)
            self.processes = stack.enter_context(Processes(settings.VAR_DIR, SHORT_WAITS if kill_worker else {}))
            self.processes.pass_fds = (lock,)
            stack.callback(self._say_stopping)
            self._prepare_database()
            stage = self._start()
            job = self._upload(stage)
            self._watch(job, kill_worker=kill_worker)
            accounted = self._report(job, kill_worker=kill_worker)
            if not exit:
                self._stay(stage)
            return 0 if accounted else 1

    @contextmanager
    def _one_at_a_time(self) -> Iterator[int]:
        """Hold the folder's lock; the processes hold it too, so that what a killed run left behind is waited for."""
        settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
        with (settings.VAR_DIR / "demo.lock").open("a") as file:
            until = time.monotonic() + LOCK_WAIT
            while not _locked(file.fileno()):
                if time.monotonic() > until:
                    raise demo.DemoRefused(f"Another demo runs in {settings.VAR_DIR}. Stop it with Ctrl-C first.")
                self.signals.sleep(0.2)
            yield file.fileno()

    def _prepare_database(self) -> None:
        if settings.EMBEDDED_DATABASE:
            embedded.ensure_running(settings.EMBEDDED_DATA_DIR)
        self.signals.check()
        call_command("migrate", verbosity=0, interactive=False)
        self.signals.check()
        demo.refuse_real_installation()

    def _leave_database(self) -> None:
        self.signals.ignore()  # the embedded server's own programs would hear a second Ctrl-C
        connections.close_all()
        embedded.stop_if_last()

    def _start(self) -> demo.Stage:
        """Start everything, the simulator first: it is stopped last."""
        listener = listen(WEB_PORT)
        self.web = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with listen(SIMULATOR_PORT) as free:
            port = free.getsockname()[1]
        self._say(f"Starting the web process, two workers, the scheduler and the simulated providers ({self.web}) …")
        simulator = self.processes.start_simulator(self.web, "--port", str(port), stop=self.signals)
        self.processes.environment |= {"CALLBACK_TRUSTED_TARGETS": simulator, "BASE_URL": self.web}
        stage = demo.prepare(simulator, now=timezone.now())
        self.signals.check()
        self.processes.start_web(listener)
        self.processes.start_workers()
        self.processes.start_beat()
        return stage

    def _upload(self, stage: demo.Stage) -> Job:
        template = stage.template
        with demo.SAMPLE.open("rb") as stream:
            job = create_job(
                stream,
                service=template.service,
                template=template,
                file_name=demo.SAMPLE.name,
                now=timezone.now(),
                created_by=stage.user,
            )
        process_job.delay_on_commit(str(job.pk))
        self._say(f"Uploaded {demo.SAMPLE.name}: {job.notification_count:,} rows.")
        return job

    def _watch(self, job: Job, *, kill_worker: bool) -> None:
        """Show the figures until all is settled, or nothing has changed for STUCK_AFTER."""
        kill_at, seen, changed_at = job.notification_count / 3, None, time.monotonic()
        with Board(self.console) as board:
            while seen is None or not seen.settled:
                now = demo.standing(job)
                if now != seen:
                    seen, changed_at = now, time.monotonic()
                if time.monotonic() - changed_at > STUCK_AFTER:
                    return
                board.show(now)
                if kill_worker and now.begun >= kill_at:
                    kill_worker = False
                    self._kill_worker()
                self.processes.check()
                self.signals.sleep(0 if now.settled else LOOK_EVERY)

    def _kill_worker(self) -> None:
        worker = self.processes.members["general"]
        worker.kill()
        self._say("The general worker was killed (SIGKILL, its children too) and is started again.")
        worker.start()

    def _report(self, job: Job, *, kill_worker: bool) -> bool:
        """Print the summary; says whether everything is as it should be."""
        job.refresh_from_db()
        on_wire = settings.SENDING_CONCURRENCY * settings.LOOP_SLOTS if kill_worker else 0
        ledger = settings.VAR_DIR / "simulator" / "ledger.jsonl"
        findings = demo.judge(job, ledger, now=timezone.now(), doubled_allowed=on_wire)
        summarise(self.console, demo.standing(job), demo.refused_rows(job), findings)
        accounted = all(finding.holds for finding in findings)
        if not accounted:
            self._say(f"Not everything is accounted for; the processes' output is in {settings.VAR_DIR / 'log'}.")
        return accounted

    def _stay(self, stage: demo.Stage) -> None:
        self._say(f"\nThe admin: {self.web}/admin/   user {stage.user.get_username()}   password {stage.password}")
        self._say("Ctrl-C stops everything.")
        try:
            while True:
                self.processes.check()
                self.signals.sleep(0.5)
        except StopAsked:
            return  # the way it is meant to end

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _say_stopping(self) -> None:
        if not self.signals.asked:
            self._say("Stopping …")

    def _heard(self) -> None:
        os.write(2, b"\nStopping ...\n")  # print() may be at work just now

    def _fail(self, problem: Exception) -> NoReturn:
        text = str(problem).strip() or type(problem).__name__
        if isinstance(problem, DatabaseError):
            text = f"The database cannot be used: {' '.join(text.split())}"
        raise CommandError(text, returncode=3) from problem


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _database() -> str:
    """Name the database without its password."""
    if settings.EMBEDDED_DATABASE:
        return f"embedded PostgreSQL in {settings.EMBEDDED_DATA_DIR}"
    given = settings.DATABASES["default"]
    return f"{given['NAME']} on {given.get('HOST') or 'the local socket'}:{given.get('PORT') or 5432} (DATABASE_URL)"


def _broker() -> str:
    """Name the broker without its password."""
    if settings.EMBEDDED_BROKER:
        return f"files in {settings.VAR_DIR / 'broker'}"
    url = urlsplit(settings.CELERY_BROKER_URL)
    return f"{url.scheme}://{url.hostname}:{url.port or 'default port'}{url.path} (CELERY_BROKER_URL)"
