"""`manage.py create_job`: make a job of a file, as the admin's “Add job” does."""

import uuid
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.progress import Progress as Bar

from jobs.creation import JobRefused, create_job, read_file
from jobs.forms import LocalMomentField, comes_twice
from jobs.models import Job
from jobs.preview import checker_of, invalid_rows
from jobs.progress import progress_of
from jobs.recipients_file import FileProblem
from jobs.tasks import process_job
from notify.clock import zone
from notify.models import Service, Template
from notify.processes import StopAsked, StopSignals

USAGE, REFUSED, STOPPED = 2, 3, 130  # exit statuses
ROWS_SHOWN = 10
LOOK_EVERY = 0.5  # seconds between looks at a job that is waited for


class Command(BaseCommand):
    """Exit status: 0 made, 1 the job that was waited for went wrong, 2 usage, 3 refused with nothing stored."""

    help = "Make a job of a CSV file and have it processed. Each row becomes one message."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take service, template and file."""
        parser.add_argument("--service", required=True, metavar="NAME_OR_ID")
        parser.add_argument("--template", required=True, metavar="NAME_OR_ID")
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--schedule", metavar="TIME", help="local time to begin, such as 2026-11-24T09:30")
        parser.add_argument(
            "--encoding", choices=["cp1252"], help="for Windows-1252; else UTF-8, or UTF-16 with a mark"
        )
        parser.add_argument("--accept-invalid-rows", action="store_true", help="send the good rows of a file with bad")
        parser.add_argument("--wait", action="store_true", help="show progress until every row has its message")
        parser.add_argument("--dry-run", action="store_true", help="only say whether the file would be accepted")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the job, wake a worker, and wait where asked to."""
        if options["wait"] and (options["schedule"] or options["dry_run"]):
            raise CommandError(
                "--wait goes with neither --schedule nor --dry-run: there is nothing to see.", returncode=USAGE
            )
        with StopSignals() as self.signals:
            try:
                job = self._make(options)
                if job and job.status == Job.Status.PENDING:
                    self._wake(job)
                    if options["wait"]:
                        self._wait(job)
            except StopAsked:
                self.stderr.write(
                    "Stopped. A job that was named above goes on by itself (the admin shows it); otherwise nothing was "
                    "made, and the same command can be run again."
                )
                raise SystemExit(STOPPED) from None

    def _make(self, options: dict[str, Any]) -> Job | None:
        """Make the job and say so; None for a dry run."""
        template = self._template(options["service"], options["template"])
        scheduled_for = self._moment(options["schedule"])
        with _opened(options["file"]) as stream, _refusals():
            bad = list(self._bad_rows(stream, template, options["encoding"]))
            if bad and not options["accept_invalid_rows"]:
                raise JobRefused("INVALID_ROWS", _describe(bad))
            self.signals.check()
            with transaction.atomic():
                job = create_job(
                    stream,
                    service=template.service,
                    template=template,
                    file_name=options["file"].name,
                    now=timezone.now(),
                    scheduled_for=scheduled_for,
                    encoding=options["encoding"],
                )
                if options["dry_run"]:
                    transaction.set_rollback(True)
                    job.file.storage.delete(job.file.name)
        return self._tell(job, bad=len(bad), dry_run=options["dry_run"])

    def _tell(self, job: Job, *, bad: int, dry_run: bool) -> Job | None:
        rows = "1 row" if job.notification_count == 1 else f"{job.notification_count:,} rows"
        rows += f", {bad:,} of them not sendable" if bad else ""
        if dry_run:
            self.stdout.write(f"The file would be accepted: {rows}. Nothing was stored.")
            return None
        self.stdout.write(f"Job {job.pk}: {rows}.")
        if job.scheduled_for:
            local = job.scheduled_for.astimezone(zone())
            twice = " (the first of two: clocks go back that day)" if comes_twice(job.scheduled_for) else ""
            self.stdout.write(f"It begins on {local:%d %b %Y at %H:%M %Z}{twice}.")
        return job

    def _wake(self, job: Job) -> None:
        if process_job.delay(str(job.pk)) is None:
            self.stdout.write(
                "The broker cannot be reached: wake-up not sent. The job begins within a minute of its return."
            )

    def _wait(self, job: Job) -> None:
        """Show how many rows have their message until the job is final; Ctrl-C ends the watching, not the job."""
        columns = (*Bar.get_default_columns()[:-1], MofNCompleteColumn())
        with Bar(*columns, console=Console(), auto_refresh=False) as bar:
            task = bar.add_task("Rows", total=job.notification_count)
            while job.status not in (*Job.FINAL, Job.Status.ERROR):
                self.signals.sleep(LOOK_EVERY)
                job.refresh_from_db()
                bar.update(task, completed=progress_of(job).created, refresh=True)
        if job.status != Job.Status.COMPLETE:
            raise CommandError(f"Job {job.pk} is “{job.status}”: {job.status_reason or 'see the log'}", returncode=1)
        self.stdout.write(f"Job {job.pk} is “{job.status}”.")

    def _template(self, service_text: str, template_text: str) -> Template:
        service = _one(Service.objects.all(), service_text, "service")
        template = _one(Template.objects.filter(service=service).select_related("service"), template_text, "template")
        return template  # type: ignore[return-value]

    def _moment(self, text: str | None) -> datetime | None:
        try:
            return LocalMomentField(required=False).clean(text)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages), returncode=USAGE) from error

    def _bad_rows(self, stream: BinaryIO, template: Template, encoding: str | None) -> Iterator[tuple[int, str]]:
        """Yield each row that nothing could be sent for: its number as people count, and the reason's code."""
        found = read_file(stream, template, encoding=encoding)
        for row, _, problem in invalid_rows(found, checker_of(template)):
            yield row, problem.partition(":")[0]


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}).", returncode=USAGE) from error
    with stream:
        yield stream


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn a refusal into its line; whatever was begun is undone."""
    try:
        yield
    except FileProblem as problem:
        raise CommandError(f"{problem} Nothing was stored.", returncode=REFUSED) from problem
    except JobRefused as problem:
        raise CommandError(f"{problem.code}: {problem} Nothing was stored.", returncode=REFUSED) from problem


def _describe(bad: list[tuple[int, str]]) -> str:
    shown = "; ".join(f"row {number:,} {code}" for number, code in bad[:ROWS_SHOWN])
    more = f"; and {len(bad) - ROWS_SHOWN:,} more" if len(bad) > ROWS_SHOWN else ""
    rows = "1 row cannot" if len(bad) == 1 else f"{len(bad):,} rows cannot"
    return f"{rows} be sent: {shown}{more}. Mend the file, or add --accept-invalid-rows to send the others."


def _one(candidates: QuerySet, text: str, kind: str) -> Model:
    """Find the one of that name or id."""
    by_id = Q()
    with suppress(ValueError):
        by_id = Q(pk=uuid.UUID(text))
    found = list(candidates.filter(Q(name=text) | by_id)[:2])
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(f"Several of the service's {kind}s are called {text[:40]!r}: give an id.", returncode=USAGE)
    names = ", ".join(candidates.values_list("name", flat=True)[:5]) or f"none; make a {kind} in the admin first"
    raise CommandError(f"There is no {kind} {text[:40]!r}. There is: {names}.", returncode=USAGE)
