"""What must always hold of jobs, and that a breach is named."""

from datetime import UTC, datetime

import pytest

from jobs import invariants
from jobs.models import Job
from notify.testing import make_job, make_notification

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
FINISHED = [Job.Status.FINISHED, Job.Status.COMPLETE]


def with_rows(*numbers, rows=3, **fields):
    job = make_job(rows, **fields)
    for number in numbers:
        make_notification(job, number)
    return job


def test_nothing_at_all_and_whole_jobs_break_nothing():
    assert invariants.run(now=NOW) == []
    with_rows(0, 1, 2)
    with_rows(0, 1, 2, status=Job.Status.COMPLETE)
    assert invariants.run(now=NOW) == []


@pytest.mark.parametrize("status", FINISHED)
@pytest.mark.parametrize(("numbers", "top"), [((), -1), ((0, 1), 1), ((0, 2), 2), ((0, 1, 2, 3), 3), ((0, 1, 3), 3)])
def test_a_finished_job_has_each_of_its_rows_once_and_no_other(status, numbers, top):
    job = with_rows(*numbers, status=status)
    assert invariants.run(now=NOW) == [
        f"Job {job.pk}: {len(numbers)} notifications for 3 rows (highest row number {top})."
    ]


@pytest.mark.parametrize("status", sorted(set(Job.Status) - set(FINISHED)))
def test_a_job_that_is_not_finished_may_lack_rows(status):
    with_rows(0, status=status)
    assert invariants.run(now=NOW) == []


def test_an_archived_job_lost_its_rows_to_retention():
    with_rows(status=Job.Status.COMPLETE, archived=True)
    assert invariants.run(now=NOW) == []


def test_a_row_that_was_doubled_is_named():
    job = with_rows(0, 1, 1 + 1, rows=3)
    with invariants.connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks still to come cannot be altered
        cursor.execute("ALTER TABLE notify_notification DROP CONSTRAINT job_row_once")
        cursor.execute("UPDATE notify_notification SET job_row_number = 1 WHERE job_row_number = 2")
    assert f"Job {job.pk}: row 1 has 2 notifications." in invariants.run(now=NOW)
