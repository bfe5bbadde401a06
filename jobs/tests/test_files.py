"""Job files until retention ends."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs import files
from jobs.models import Job
from jobs.tasks import remove_csv_files
from notify.loops import InTransaction
from notify.models import Alert, DataRetention
from notify.testing import make_job

NOW = datetime(2026, 3, 31, 1, 30, tzinfo=UTC)  # 02:30 in London, two nights after the clocks went forward
MIDNIGHT = datetime(2026, 3, 24, 0, 0, tzinfo=UTC)  # London midnight of the day seven days ago (winter time then)
SECOND = timedelta(seconds=1)
Status = Job.Status
pytestmark = pytest.mark.django_db


def job_of(moment, **fields):
    defaults = {"status": Status.COMPLETE, "created_at": moment, "progressed_at": moment}
    return make_job(**(defaults | fields))


def removed(jobs):
    files.remove_csv_files(now=NOW)
    gone = [label for label, job in jobs.items() if Job.objects.get(pk=job.pk).archived]
    for label, job in jobs.items():
        assert job.file.storage.exists(job.file.name) == (label not in gone)
    return gone


def test_files_from_before_local_midnight_of_seven_days_ago_go():
    assert removed({
        "a second before": job_of(MIDNIGHT - SECOND),
        "at midnight": job_of(MIDNIGHT),
        "today": job_of(NOW),
        "old, but scheduled for later": job_of(MIDNIGHT - SECOND, scheduled_for=MIDNIGHT),
        "scheduled for before": job_of(MIDNIGHT - timedelta(days=3), scheduled_for=MIDNIGHT - SECOND),
    }) == ["a second before", "scheduled for before"]  # fmt: skip


def test_only_jobs_that_nobody_will_process_lose_their_file():
    old = MIDNIGHT - timedelta(days=30)
    jobs = {status.label: job_of(old, status=status) for status in Status}
    jobs["given up"] = job_of(old, status=Status.ERROR, recoveries=3)
    gone = removed(jobs)
    assert set(gone) == {
        Status.COMPLETE.label, Status.LIMITS_EXCEEDED.label, Status.CANCELLED.label, Status.FINISHED.label, "given up",
    }  # fmt: skip


def test_retention_is_per_service_and_type():
    kept, longer, shorter = job_of(MIDNIGHT - SECOND), job_of(MIDNIGHT - SECOND), job_of(MIDNIGHT + timedelta(days=3))
    DataRetention.objects.create(service=kept.service, notification_type="email", days=90)
    DataRetention.objects.create(service=longer.service, notification_type="sms", days=8)
    DataRetention.objects.create(service=shorter.service, notification_type="sms", days=3)
    assert removed({"other type": kept, "longer": longer, "shorter": shorter}) == ["other type", "shorter"]


def test_a_second_run_and_a_run_that_died_between_file_and_mark_change_nothing_more():
    job = job_of(MIDNIGHT - SECOND)
    job.file.storage.delete(job.file.name)  # the run before this one died here
    assert files.remove_csv_files(now=NOW) == {"found": 1, "repaired": 1}
    assert files.remove_csv_files(now=NOW) == {"found": 0, "repaired": 0}


def test_a_storage_error_stops_only_its_job_and_is_alerted_after_three_nights():
    broken, whole = job_of(MIDNIGHT - timedelta(days=2)), job_of(MIDNIGHT - SECOND)
    path = broken.file.storage.path(broken.file.name)
    broken.file.storage.delete(broken.file.name)
    from pathlib import Path

    (Path(path) / "inside").mkdir(parents=True)  # a folder that is not empty can be neither unlinked nor removed
    assert files.remove_csv_files(now=NOW) == {"found": 2, "repaired": 1}
    assert Job.objects.get(pk=whole.pk).archived
    files.remove_csv_files(now=NOW + timedelta(days=1))
    assert not Alert.objects.exists()
    files.remove_csv_files(now=NOW + timedelta(days=2))
    assert Alert.objects.get().scope == f"job {broken.pk}"
    (Path(path) / "inside").rmdir()
    files.remove_csv_files(now=NOW + timedelta(days=3))
    assert Job.objects.get(pk=broken.pk).archived
    assert not Alert.objects.open().exists()


@pytest.mark.django_db(transaction=True)
def test_the_task_refuses_to_run_inside_a_transaction():
    from django.db import transaction

    with transaction.atomic(), pytest.raises(InTransaction):
        remove_csv_files()


def test_what_is_due_is_listed_without_touching_it():
    job = job_of(MIDNIGHT - SECOND)
    due = files.due(now=NOW)
    assert (due.count, due.oldest, due.keys) == (1, MIDNIGHT - SECOND, [str(job.pk)])
    assert not Job.objects.get(pk=job.pk).archived
