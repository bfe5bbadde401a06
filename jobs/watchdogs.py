"""What the periodic tasks do about jobs. Watchdogs write rows only, and return what is to be processed."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from jobs.models import Job
from jobs.querysets import missing_row_numbers
from jobs.recipients_file import FIRST_ROW
from notify.alerts import close_alert, close_others, raise_alert
from notify.models import Alert

SCHEDULED_PER_RUN = 100  # jobs
ROWS_NAMED = 20  # of the missing rows that an alert names one by one
STALLED, INCOMPLETE = "job-stalled", "job-incomplete"


def run_scheduled_jobs(*, now: datetime, limit: int = SCHEDULED_PER_RUN) -> tuple[int, list[UUID]]:
    """Make scheduled jobs whose time has come pending, and name every pending job for a nudge.

    now: the moment to judge by (aware, UTC). limit: jobs per run.
    Returns how many became pending, and the keys of all pending jobs, oldest first: a lost nudge costs a minute.
    """
    with transaction.atomic():
        due = Job.objects.filter(pk__in=Job.objects.scheduled_due(now).claim(limit))
        started = due.move_to(Job.Status.PENDING, now=now, progressed_at=now)
    return started, list(Job.objects.pending().values_list("pk", flat=True)[:limit])


def check_job_status(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Set stalled jobs to error before anyone repairs them; alert for those recovered too often in vain.

    now: the moment to judge by (aware, UTC). limit: jobs per run.
    Returns the keys of the jobs to process again; a second caller at the same moment gets none of them.
    """
    with transaction.atomic():
        stalled = Job.objects.filter(pk__in=Job.objects.stalled(now).claim(limit))
        stalled.move_to(Job.Status.ERROR, now=now, progressed_at=now)
        recoverable = list(stalled.recoverable().order_by("created_at").values_list("pk", flat=True))
        _tell_given_up(now=now)
    return recoverable


def check_for_missing_rows(*, now: datetime, limit: int = 100) -> list[UUID]:
    """Count one try for each finished job that is short of notifications; alert for those beyond repair.

    Returns the keys of the jobs whose missing rows are to be processed; a second caller gets none of them.
    """
    with transaction.atomic():
        candidates = list(Job.objects.missing_rows(now).values_list("pk", flat=True)[:limit])
        # Locked first, then judged again: what somebody else touched meanwhile no longer matches.
        locked = Job.objects.filter(pk__in=candidates).order_by("pk").claim(limit)
        short = list(Job.objects.missing_rows(now).filter(pk__in=locked))
        for job in short:
            Job.objects.filter(pk=job.pk).update(recoveries=job.recoveries + 1, progressed_at=now)
        _tell_beyond_repair(now=now)
    return [job.pk for job in short]


def mark_jobs_complete(*, now: datetime, limit: int = 1_000) -> int:
    """Move finished jobs that have all their notifications to their final status. Returns how many."""
    with transaction.atomic():
        keys = list(Job.objects.complete_uncounted().values_list("pk", flat=True)[:limit])
        moved = Job.objects.filter(pk__in=keys).move_to(Job.Status.COMPLETE, now=now, progressed_at=now)
        for key in keys:
            close_alert(INCOMPLETE, f"job {key}", now=now)
    return moved


def describe_rows(numbers: list[int]) -> str:
    """Say which rows of a file are meant, as people count them (the header is row 1)."""
    shown = ", ".join(str(number + FIRST_ROW) for number in numbers[:ROWS_NAMED])
    more = f" and {len(numbers) - ROWS_NAMED:,} more" if len(numbers) > ROWS_NAMED else ""
    return f"{len(numbers):,} of its rows (file rows {shown}{more})"


def _tell_given_up(*, now: datetime) -> None:
    """Keep an alert open for each job given up on, and close those whose job is so no more."""
    given_up = {f"job {job.pk}": job for job in Job.objects.given_up()}
    close_others(STALLED, given_up, now=now)
    for scope, job in _without_alert(STALLED, given_up):
        missing = missing_row_numbers(job.pk, job.notification_count)
        raise_alert(
            STALLED,
            scope,
            f"{scope} was recovered {job.recoveries} times in vain and stays in error; {describe_rows(missing)} have "
            f"no message. Last reason: {job.status_reason or 'its worker died each time'}. Mend the cause, then use "
            f"“Resume” in the admin; its file is deleted when the service's retention ends. See README, {STALLED}.",
            now=now,
        )


def _tell_beyond_repair(*, now: datetime) -> None:
    """Keep an alert open for each incomplete job that no rule repairs, and close those that are complete."""
    beyond = {f"job {job.pk}": job for job in Job.objects.beyond_repair(now)}
    close_others(INCOMPLETE, beyond, now=now)
    for scope, job in _without_alert(INCOMPLETE, beyond):
        missing = missing_row_numbers(job.pk, job.notification_count)
        raise_alert(
            INCOMPLETE,
            scope,
            f"{scope} is finished, but {describe_rows(missing)} have no message, and it is not repaired by itself "
            f"({job.recoveries} tries{', ' + job.status_reason if job.status_reason else ''}). Use “Find and process "
            f"missing rows” in the admin, or process_missing_rows {job.pk}. See README, {INCOMPLETE}.",
            now=now,
        )


def _without_alert(kind: str, wanted: dict[str, Job]) -> Iterable[tuple[str, Job]]:
    """Those that have no open alert yet: an alert is raised once, not once a minute."""
    named = set(Alert.objects.open().filter(kind=kind, scope__in=list(wanted)).values_list("scope", flat=True))
    return [(scope, job) for scope, job in wanted.items() if scope not in named]
