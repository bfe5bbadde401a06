"""Jobs for drills: made of a file as an upload is, processed, and then left as a fault would leave them."""

import csv
import io
from collections.abc import Collection
from datetime import datetime
from typing import Any

from drills.house import House

BAD_EVERY = 50  # one row in so many has no phone number: its callback is written in the transaction that makes it

_PART = """
    UPDATE jobs_job SET status = %s, processing_finished = CASE WHEN %s THEN processing_finished END WHERE id = %s
"""
_AGE = """
    UPDATE jobs_job SET created_at = created_at - %s::interval, scheduled_for = scheduled_for - %s::interval,
        processing_started = processing_started - %s::interval, progressed_at = progressed_at - %s::interval,
        processing_finished = processing_finished - %s::interval
    WHERE id = ANY(%s::uuid[])
"""


def make_job(house: House, rows: int, scheduled_for: datetime | None = None) -> str:
    """Make a pending or scheduled job of this many rows and wake nobody; returns its key."""
    from django.utils import timezone

    from jobs.creation import create_job

    template = _template()
    job = create_job(
        _file(rows),
        service=template.service,
        template=template,
        file_name="drill.csv",
        now=timezone.now(),
        scheduled_for=scheduled_for,
    )
    house.jobs.append(str(job.pk))
    return str(job.pk)


def make_processed_job(house: House, rows: int) -> str:
    """Make a job and process it to its end in this process; returns its key."""
    from jobs.tasks import process_job

    key = make_job(house, rows)
    process_job.run(key)
    return key


def leave(house: House, key: str, status: str, *, without: Collection[int] = ()) -> None:
    """Leave a processed job as a fault would: in this status, and without the notifications of these rows.

    Written past the allowed moves on purpose: no code of ours goes from the last status back.
    """
    gone = "DELETE FROM notify_notification WHERE job_id = %s AND job_row_number = ANY(%s)"
    house.query(gone, key, list(without))
    house.query(_PART, status, status == "finished", key)


def age(house: House, span: str) -> None:
    """Let this much time pass for the drill's jobs: moving their times back stands in for the clock.

    span: as PostgreSQL writes an interval, such as `1 day`.
    """
    house.query(_AGE, *[span] * 5, house.jobs)


def keys_of_rows(house: House) -> dict[tuple[str, int], str]:
    """Return the notification's key by job and row number, for every row of the drill that has one."""
    found = house.query(
        "SELECT job_id::text, job_row_number, id::text FROM notify_notification WHERE job_id = ANY(%s::uuid[])",
        house.jobs,
    )
    return {(job, row): key for job, row, key in found}


def _template() -> Any:
    """Return the drills' template: its service may send as much as it likes and is told what becomes of it."""
    from notify.models import Template
    from notify.testing import make_endpoint, make_service, make_template

    made = Template.objects.select_related("service").first()
    if made is None:
        service = make_service(sms_daily_limit=1_000_000_000)
        make_endpoint(service)
        made = make_template(service)
    return made


def _file(rows: int) -> io.BytesIO:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["phone number", "name", "date"])
    for row in range(rows):
        number = "" if row % BAD_EVERY == BAD_EVERY - 1 else f"07700900{row % 1000:03d}"
        writer.writerow([number, f"Person {row}", "1 May"])
    return io.BytesIO(out.getvalue().encode())
