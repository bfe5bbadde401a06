"""Which jobs are due, pending, counted and old; what the repairs look for is held in test_recovery and test_files."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.models import Job
from jobs.querysets import missing_row_numbers
from notify.testing import make_job, make_notification

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
S = Job.Status


def found(jobs, queryset):
    """Return the labels of the jobs that are in the queryset, in its order."""
    labels = {job.pk: label for label, job in jobs.items()}
    return [labels[job.pk] for job in queryset]


def test_scheduled_due_means_its_moment_has_come_the_longest_overdue_first():
    jobs = {
        "a second early": make_job(status=S.SCHEDULED, scheduled_for=NOW + SECOND),
        "on the second": make_job(status=S.SCHEDULED, scheduled_for=NOW),
        "long ago": make_job(status=S.SCHEDULED, scheduled_for=NOW - timedelta(days=9)),
        "started": make_job(status=S.PENDING, scheduled_for=NOW - SECOND),
        "cancelled": make_job(status=S.CANCELLED, scheduled_for=NOW - SECOND),
    }
    assert found(jobs, Job.objects.scheduled_due(NOW)) == ["long ago", "on the second"]


def test_pending_leaves_archived_ones_out_and_gives_the_oldest_first():
    jobs = {
        "young": make_job(status=S.PENDING, created_at=NOW),
        "old": make_job(status=S.PENDING, created_at=NOW - SECOND),
        "archived": make_job(status=S.PENDING, archived=True),
        "scheduled": make_job(status=S.SCHEDULED, scheduled_for=NOW),
        "in progress": make_job(status=S.IN_PROGRESS),
    }
    assert found(jobs, Job.objects.pending()) == ["old", "young"]


def test_counted_knows_jobs_with_none_at_all():
    jobs = {"none": make_job(), "two": make_job()}
    for _ in range(2):
        make_notification(jobs["two"])
    assert dict(Job.objects.counted().values_list("pk", "made")) == {jobs["none"].pk: 0, jobs["two"].pk: 2}


def test_age_counts_from_the_scheduled_moment_where_there_is_one():
    scheduled = make_job(created_at=NOW - timedelta(days=9), scheduled_for=NOW + SECOND)
    made = make_job(created_at=NOW)
    ages = dict(Job.objects.aged().values_list("pk", "aged_from"))
    assert ages == {scheduled.pk: NOW + SECOND, made.pk: NOW}


@pytest.mark.parametrize(
    ("days", "repaired"),
    [(timedelta(days=3) - SECOND, True), (timedelta(days=3), False), (timedelta(days=3) + SECOND, False)],
    ids=["under", "at", "over"],
)
def test_a_short_job_is_repaired_up_to_three_days_and_no_job_falls_between_repair_and_alert(days, repaired):
    job = make_job(created_at=NOW - days, processing_finished=NOW - timedelta(hours=1))
    Job.objects.update(progressed_at=NOW - timedelta(hours=1))
    assert (job in Job.objects.missing_rows(NOW)) is repaired
    assert (job in Job.objects.beyond_repair(NOW)) is not repaired
    assert (job in Job.objects.archivable(NOW)) is not repaired


@pytest.mark.parametrize(
    ("made", "missing"),
    [((), [0, 1, 2]), ((0, 2), [1]), ((0, 1), [2]), ((1, 2), [0]), ((0, 1, 2), []), ((0, 1, 2, 3), [])],
)
def test_missing_rows_are_the_difference_not_what_comes_after_the_highest(made, missing):
    job, other = make_job(3), make_job(3)
    for number in made:
        make_notification(job, number)
    make_notification(other, 1)
    assert missing_row_numbers(job.pk, 3) == missing
