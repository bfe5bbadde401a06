"""The demonstration of letters: a council's file to PDFs, print run and zips, in one process."""

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.core.files.storage import storages

from jobs.creation import create_job
from jobs.demo import DemoRefused, Finding, judge_invariants, make_templates
from jobs.models import Job
from jobs.processing import claim_job, process_rows
from letters import files
from letters.models import Letter, PrintFile, PrintRun
from letters.print_run import collate
from letters.rendering import render_due
from notify.clock import local_date, print_deadline
from notify.models import Notification, NotificationType

SAMPLE = settings.BASE_DIR / "samples" / "council_letters.csv"
GOOD_ROWS, BAD_ROWS = 400, 1  # of SAMPLE; source: samples/README.md
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Printed:
    """What a demonstration of letters made."""

    job: Job
    day: date
    zips: Sequence[PrintFile]


def upload(*, clock: Clock) -> Job:
    """Make a job of the sample and its rows' notifications, as the admin and a worker do."""
    template = make_templates()[NotificationType.LETTER]
    with SAMPLE.open("rb") as stream:
        job = create_job(stream, service=template.service, template=template, file_name=SAMPLE.name, now=clock())
    claimed = claim_job(job.pk, now=clock())
    if claimed is None or not process_rows(claimed, clock=clock):
        job.refresh_from_db()
        raise DemoRefused(f"The job of {SAMPLE.name} could not be processed here: it is “{job.status}”.")
    job.refresh_from_db()
    return job


def render(job: Job, *, clock: Clock) -> int:
    """Make the PDFs. Returns how many pages the job's letters have."""
    render_due(clock=clock)
    return sum(Letter.objects.filter(notification__job=job, pages__isnull=False).values_list("pages", flat=True))


def print_letters(job: Job, *, clock: Clock) -> Printed:
    """Run the print run of the next day that takes these letters and is not finished yet, without waiting for it.

    Raises DemoRefused where letters of another service would go with it.
    """
    day = local_date(clock())
    while print_deadline(day) <= clock() or PrintRun.objects.filter(day=day, finished_at__isnull=False).exists():
        day += timedelta(days=1)
    if Letter.objects.printable(print_deadline(day)).exclude(notification__service=job.service).exists():
        raise DemoRefused("Letters of other services wait here and would go with the demo's. Use another database.")
    collate(clock=clock, day=day)
    return Printed(job, day, list(PrintFile.objects.filter(letters__notification__job=job).distinct()))


def judge(printed: Printed, *, now: datetime) -> list[Finding]:
    """Hold what was made against what the sample must give: each good row in exactly one zip, the bad one refused."""
    statuses = Counter(printed.job.notifications.values_list("status", flat=True))
    invalid = statuses.pop(Notification.Status.VALIDATION_FAILED, 0)
    sent = statuses.pop(Notification.Status.SENT, 0) + statuses.pop(Notification.Status.SENDING, 0)
    members = _members(printed.zips)
    keys = printed.job.notifications.exclude(status=Notification.Status.VALIDATION_FAILED).values_list("pk", flat=True)
    once = sum(1 for key in keys if members[f"{key}.pdf"] == 1)
    return [
        Finding(printed.job.status == Job.Status.COMPLETE, f"the job is “{printed.job.status}”"),
        Finding(
            (sent, invalid, statuses.total()) == (GOOD_ROWS, BAD_ROWS, 0),
            f"{sent:,} with the postal provider, {invalid:,} validation-failed, {statuses.total():,} other",
        ),
        Finding(once == GOOD_ROWS, f"{once:,} of {GOOD_ROWS:,} letters lie in exactly one zip"),
        *judge_invariants(now=now),
    ]


def _members(zips: Sequence[PrintFile]) -> Counter[str]:
    """Count the names in the zips as they lie in the storage."""
    members: Counter[str] = Counter()
    for one in zips:
        with storages[files.POSTAL].open(one.name, "rb") as stream, zipfile.ZipFile(stream) as archive:
            members.update(archive.namelist())
    return members
