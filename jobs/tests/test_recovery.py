"""Jobs that heal themselves: stalled ones are processed again, missing rows are made good, in vain is said."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from jobs import recovery, watchdogs
from jobs.models import Job
from jobs.tasks import check_job_status, process_incomplete_jobs
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


def stalled_job(**fields):
    defaults = {"status": Status.IN_PROGRESS, "progressed_at": NOW - LIMIT - SECOND, "created_at": NOW - 2 * LIMIT}
    return make_job(**(defaults | fields))


def row_numbers(job):
    return sorted(Notification.objects.filter(job=job).values_list("job_row_number", flat=True))


def found(queryset, jobs):
    return [label for label, job in jobs.items() if queryset.filter(pk=job.pk).exists()]


def test_stalled_means_nothing_happened_for_longer_than_the_limit():
    jobs = {
        "just over": stalled_job(),
        "exactly at": stalled_job(progressed_at=NOW - LIMIT),
        "just under": stalled_job(progressed_at=NOW - LIMIT + SECOND),
        "a year ago": stalled_job(progressed_at=NOW - timedelta(days=365)),
        "pending": stalled_job(status=Status.PENDING),
        "error nobody picked up": stalled_job(status=Status.ERROR),
        "tried twice": stalled_job(status=Status.ERROR, recoveries=2),
        "given up": stalled_job(status=Status.ERROR, recoveries=3),
        "third recovery died": stalled_job(recoveries=3),
        "archived": stalled_job(archived=True),
        "scheduled": stalled_job(status=Status.SCHEDULED, scheduled_for=NOW + LIMIT),
        "finished": stalled_job(status=Status.FINISHED),
        "complete": stalled_job(status=Status.COMPLETE),
        "cancelled": stalled_job(status=Status.CANCELLED),
        "over the limit": stalled_job(status=Status.LIMITS_EXCEEDED),
    }
    expected = [
        "just over", "a year ago", "pending", "error nobody picked up", "tried twice", "third recovery died",
    ]  # fmt: skip
    assert found(Job.objects.stalled(NOW), jobs) == expected


def test_check_job_status_sets_error_first_then_waits_for_the_limit_again():
    job = stalled_job()
    assert watchdogs.check_job_status(now=NOW) == [job.pk]
    job.refresh_from_db()
    assert (job.status, job.progressed_at) == (Status.ERROR, NOW)
    assert watchdogs.check_job_status(now=NOW) == []
    assert watchdogs.check_job_status(now=NOW + LIMIT) == []
    assert watchdogs.check_job_status(now=NOW + LIMIT + SECOND) == [job.pk]


def test_a_lost_wake_up_of_the_repair_is_made_good_after_the_limit():
    job = stalled_job()
    watchdogs.check_job_status(now=NOW)  # and its message never comes
    assert watchdogs.check_job_status(now=NOW + LIMIT + SECOND) == [job.pk]


def test_resume_processes_exactly_the_missing_rows_and_counts_the_recovery():
    job = stalled_job(rows=5, status=Status.ERROR, processing_started=NOW - 2 * LIMIT)
    kept = make_notification(job, 3)
    assert recovery.process_incomplete_jobs([job.pk], clock=clock) == {"found": 1, "repaired": 1}
    job.refresh_from_db()
    assert row_numbers(job) == [0, 1, 2, 3, 4]
    assert Notification.objects.filter(pk=kept.pk).exists()
    assert (job.status, job.recoveries, job.processing_started) == (Status.COMPLETE, 1, NOW)


def test_resume_twice_or_of_a_job_that_moved_on_does_nothing():
    job = stalled_job(status=Status.ERROR)
    others = [stalled_job(status=status) for status in (Status.IN_PROGRESS, Status.PENDING, Status.CANCELLED)]
    archived = stalled_job(status=Status.ERROR, archived=True)
    keys = [job.pk, archived.pk, *(other.pk for other in others)]
    assert recovery.process_incomplete_jobs(keys, clock=clock)["found"] == 1
    assert recovery.process_incomplete_jobs(keys, clock=clock)["found"] == 0
    assert row_numbers(archived) == []


def test_all_are_in_progress_before_the_first_is_processed():
    jobs = [stalled_job(status=Status.ERROR) for _ in range(3)]
    resumed = recovery.resume_jobs([job.pk for job in jobs], now=NOW)
    assert {job.pk for job in resumed} == {job.pk for job in jobs}
    states = set(Job.objects.values_list("status", "progressed_at", "recoveries"))
    assert states == {(Status.IN_PROGRESS, NOW, 1)}


def test_one_jobs_failure_does_not_stop_the_next():
    broken = stalled_job(status=Status.ERROR, created_at=NOW - 3 * LIMIT)
    broken.file.storage.delete(broken.file.name)
    whole = stalled_job(status=Status.ERROR)
    assert recovery.process_incomplete_jobs([broken.pk, whole.pk], clock=clock) == {"found": 2, "repaired": 1}
    broken.refresh_from_db()
    assert (broken.status, broken.status_reason) == (Status.ERROR, "its file is gone from the storage")
    assert row_numbers(whole) == [0, 1, 2]


def test_a_resumed_job_of_a_service_that_is_switched_off_is_cancelled():
    job = stalled_job(status=Status.ERROR)
    job.service.active = False
    job.service.save()
    recovery.process_incomplete_jobs([job.pk], clock=clock)
    job.refresh_from_db()
    assert (job.status, row_numbers(job)) == (Status.CANCELLED, [])


@pytest.mark.parametrize(
    ("started", "expected"), [(None, Status.LIMITS_EXCEEDED), (NOW - 2 * LIMIT, Status.COMPLETE)], ids=["never", "once"]
)
def test_the_daily_limit_is_judged_only_where_it_never_was(started, expected):
    job = stalled_job(status=Status.ERROR, processing_started=started)
    job.service.sms_daily_limit = 2
    job.service.save()
    recovery.process_incomplete_jobs([job.pk], clock=clock)
    job.refresh_from_db()
    assert job.status == expected


def test_three_recoveries_in_vain_leave_one_alert_that_says_which_rows_and_why():
    job = stalled_job(rows=4)
    make_notification(job, 0)
    job.file.storage.delete(job.file.name)
    moment = NOW
    for _ in range(3):
        assert watchdogs.check_job_status(now=moment) == [job.pk]
        recovery.process_incomplete_jobs([job.pk], clock=lambda moment=moment: moment)
        moment += LIMIT + SECOND
    for _ in range(3):
        assert watchdogs.check_job_status(now=moment) == []
        moment += LIMIT + SECOND
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.times_seen) == ("job-stalled", f"job {job.pk}", 1)
    assert "3 of its rows (file rows 3, 4, 5)" in alert.message
    assert "its file is gone from the storage" in alert.message


def test_a_worker_that_dies_in_the_third_recovery_is_alerted_too():
    job = stalled_job(recoveries=3)
    assert watchdogs.check_job_status(now=NOW) == []
    assert Alert.objects.get().scope == f"job {job.pk}"


def test_the_alert_closes_when_the_job_is_given_up_no_more():
    job = stalled_job(recoveries=3)
    watchdogs.check_job_status(now=NOW)
    Job.objects.filter(pk=job.pk).move_to(Status.CANCELLED, now=NOW)
    watchdogs.check_job_status(now=NOW)
    assert not Alert.objects.open().exists()


def test_check_job_status_enqueues_after_commit(django_capture_on_commit_callbacks):
    stalled_job(progressed_at=datetime(2020, 1, 1, tzinfo=UTC))
    with django_capture_on_commit_callbacks() as callbacks:
        assert check_job_status() == {"found": 1}
    assert [call.func.__self__.name for call in callbacks] == ["jobs.process_incomplete_jobs"]
    with django_capture_on_commit_callbacks() as callbacks:
        assert check_job_status() == {"found": 0}
    assert callbacks == []


def test_process_incomplete_jobs_takes_keys_as_text():
    job = stalled_job(status=Status.ERROR)
    assert process_incomplete_jobs([str(job.pk)]) == {"found": 1, "repaired": 1}


@pytest.mark.parametrize("check", [watchdogs.check_job_status, watchdogs.check_for_missing_rows,
                                   watchdogs.mark_jobs_complete])  # fmt: skip
def test_queries_do_not_grow_with_healthy_jobs(check, django_assert_max_num_queries):
    for _ in range(20):
        make_job(status=Status.COMPLETE)
    with django_assert_max_num_queries(9):
        check(now=NOW)


def test_check_job_status_stays_flat_with_twenty_stalled_jobs(django_assert_max_num_queries):
    for _ in range(20):
        stalled_job()
    with django_assert_max_num_queries(9):
        assert len(watchdogs.check_job_status(now=NOW)) == 20


def test_limits_are_those_of_the_settings():
    assert (settings.JOB_STALLED_AFTER, settings.JOB_MISSING_ROWS_AFTER) == (LIMIT, AFTER)
    assert (timedelta(days=3), 3) == (settings.JOB_REPAIRED_FOR, settings.JOB_RECOVERIES_LIMIT)
