"""Finished jobs that are short of notifications: exactly the missing rows are made good, and what cannot be is said."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs import recovery, watchdogs
from jobs.models import Job
from jobs.tasks import check_for_missing_rows_in_completed_jobs
from notify.models import Alert, Notification
from notify.testing import make_job, make_notification

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # the clocks went back an hour and a half ago
SECOND = timedelta(seconds=1)
LIMIT = timedelta(minutes=30)
AFTER = timedelta(minutes=10)
Status = Job.Status
pytestmark = pytest.mark.django_db


def clock():
    return NOW


def short_job(made=(0, 2), rows=3, **fields):
    """A finished job that has notifications for these rows only."""
    defaults = {
        "status": Status.FINISHED, "created_at": NOW - timedelta(hours=1), "progressed_at": NOW - timedelta(hours=1),
        "processing_finished": NOW - AFTER - SECOND,
    }  # fmt: skip
    job = make_job(rows=rows, **(defaults | fields))
    for number in made:
        make_notification(job, number)
    return job


def row_numbers(job):
    return sorted(Notification.objects.filter(job=job).values_list("job_row_number", flat=True))


def found(queryset, jobs):
    return [label for label, job in jobs.items() if queryset.filter(pk=job.pk).exists()]


def test_missing_rows_means_finished_for_longer_than_the_limit_and_too_few():
    jobs = {
        "just over": short_job(),
        "exactly at": short_job(processing_finished=NOW - AFTER),
        "none at all": short_job(made=()),
        "complete, not counted": short_job(made=(0, 1, 2)),
        "counted": short_job(status=Status.COMPLETE),
        "archived": short_job(archived=True),
        "almost three days": short_job(created_at=NOW - timedelta(days=3) + SECOND),
        "three days": short_job(created_at=NOW - timedelta(days=3)),
        "old, scheduled lately": short_job(
            created_at=NOW - timedelta(days=9), scheduled_for=NOW - timedelta(days=2, hours=23)
        ),
        "tried twice": short_job(recoveries=2),
        "tried three times": short_job(recoveries=3),
        "tried just now": short_job(recoveries=1, progressed_at=NOW - AFTER + SECOND),
        "in progress": short_job(status=Status.IN_PROGRESS),
    }
    assert found(Job.objects.missing_rows(NOW), jobs) == [
        "just over", "none at all", "almost three days", "old, scheduled lately", "tried twice",
    ]  # fmt: skip
    assert found(Job.objects.beyond_repair(NOW), jobs) == ["three days", "tried three times"]


@pytest.mark.parametrize("made", [(1, 2), (0, 2), (0, 1), ()], ids=["first", "middle", "last", "all"])
def test_exactly_the_missing_rows_are_made_good(made):
    job = short_job(made=made)
    before = set(Notification.objects.filter(job=job).values_list("pk", flat=True))
    assert watchdogs.check_for_missing_rows(now=NOW) == [job.pk]
    assert recovery.process_missing_rows(job.pk, clock=clock) == 3 - len(made)
    job.refresh_from_db()
    assert (job.status, row_numbers(job)) == (Status.COMPLETE, [0, 1, 2])
    assert before <= set(Notification.objects.filter(job=job).values_list("pk", flat=True))
    assert recovery.process_missing_rows(job.pk, clock=clock) == 0


def test_unrelated_and_healthy_jobs_are_left_alone():
    healthy, short = short_job(made=(0, 1, 2)), short_job(made=(0,))
    make_notification()
    assert watchdogs.check_for_missing_rows(now=NOW) == [short.pk]
    assert recovery.process_missing_rows(healthy.pk, clock=clock) == 0


def test_a_job_whose_messages_retention_took_is_not_sent_again_at_any_age():
    for age in (timedelta(hours=1), timedelta(days=2), timedelta(days=90)):
        for status in (Status.COMPLETE, Status.FINISHED):
            job = short_job(made=(), status=status, archived=True, created_at=NOW - age)
            assert recovery.process_missing_rows(job.pk, clock=clock) == 0
    assert watchdogs.check_for_missing_rows(now=NOW) == []
    assert not Notification.objects.exists()


def test_missing_rows_in_vain_are_tried_three_times_then_alerted_with_the_reason():
    job = short_job(made=(0,))
    job.file.storage.delete(job.file.name)
    moment = NOW
    for _ in range(3):
        assert watchdogs.check_for_missing_rows(now=moment) == [job.pk]
        with pytest.raises(FileNotFoundError):
            recovery.process_missing_rows(job.pk, clock=clock)
        assert watchdogs.check_for_missing_rows(now=moment + AFTER) == []
        moment += AFTER + SECOND
    watchdogs.check_for_missing_rows(now=moment)
    watchdogs.check_for_missing_rows(now=moment + AFTER)
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.times_seen) == ("job-incomplete", f"job {job.pk}", 1)
    assert "2 of its rows (file rows 3, 4)" in alert.message
    assert "its file is gone" in alert.message


def test_incomplete_for_longer_than_three_days_is_said_once_and_a_person_may_still_repair_it():
    job = short_job(created_at=NOW - timedelta(days=20))
    assert watchdogs.check_for_missing_rows(now=NOW) == []
    assert watchdogs.check_for_missing_rows(now=NOW + AFTER) == []
    assert Alert.objects.open().get().times_seen == 1
    assert recovery.process_missing_rows(job.pk, clock=clock) == 1
    assert not Alert.objects.open().exists()


def test_missing_rows_of_a_service_that_is_switched_off_wait():
    job = short_job()
    job.service.active = False
    job.service.save()
    assert recovery.process_missing_rows(job.pk, clock=clock) == 0


def test_each_short_job_is_enqueued_once(django_capture_on_commit_callbacks):
    short_job(created_at=datetime.now(UTC) - timedelta(hours=2), processing_finished=datetime.now(UTC) - LIMIT)
    with django_capture_on_commit_callbacks() as callbacks:
        assert check_for_missing_rows_in_completed_jobs() == {"found": 1}
        assert check_for_missing_rows_in_completed_jobs() == {"found": 0}
    assert [call.func.__self__.name for call in callbacks] == ["jobs.process_missing_rows"]


def test_mark_jobs_complete_counts_every_row():
    jobs = {
        "all": short_job(made=(0, 1, 2)), "one short": short_job(), "none": short_job(made=()),
        "archived": short_job(made=(0, 1, 2), archived=True), "in progress": short_job(status=Status.IN_PROGRESS),
    }  # fmt: skip
    assert watchdogs.mark_jobs_complete(now=NOW) == 1
    assert found(Job.objects.in_status(Status.COMPLETE), jobs) == ["all"]
    assert watchdogs.mark_jobs_complete(now=NOW) == 0
