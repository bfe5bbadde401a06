"""Jobs as rows: their states, their file, and what the database itself refuses."""

import pytest
from django.db import IntegrityError, transaction

from jobs.models import Job, stored_name
from notify.models import Notification
from notify.testing import make_job, make_notification

S = Job.Status


def test_every_status_has_its_moves_and_the_final_ones_are_left_for_cancelled_at_most():
    assert set(Job.MOVES) == set(S)
    assert {status: Job.MOVES[status] for status in Job.FINAL} == {
        S.COMPLETE: {S.CANCELLED}, S.LIMITS_EXCEEDED: set(), S.CANCELLED: set(),
    }  # fmt: skip
    assert not set(Job.UNFINISHED) & Job.FINAL


def test_what_was_scheduled_or_failed_comes_back_only_the_normal_way():
    leading = {target: {source for source, targets in Job.MOVES.items() if target in targets} for target in S}
    assert leading[S.PENDING] == {S.SCHEDULED}
    assert leading[S.IN_PROGRESS] == {S.PENDING, S.ERROR}
    assert leading[S.COMPLETE] == {S.FINISHED}
    assert leading[S.SCHEDULED] == set()


@pytest.mark.django_db
def test_the_database_refuses_a_status_that_does_not_exist():
    job = make_job()
    with pytest.raises(IntegrityError, match="job_status_known"), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(status="done")


@pytest.mark.django_db
def test_the_database_refuses_a_row_made_twice_and_a_row_without_its_job():
    job = make_job()
    make_notification(job, 0)
    with pytest.raises(IntegrityError, match="job_row_once"), transaction.atomic():
        make_notification(job, 0)
    with pytest.raises(IntegrityError, match="notification_row_of_job"), transaction.atomic():
        Notification.objects.update(job_row_number=None)


@pytest.mark.django_db
def test_a_file_is_stored_by_service_and_key_whatever_it_was_called():
    job = make_job()
    assert job.file.name == stored_name(job, "../../etc/passwd") == f"{job.service_id}/{job.pk}.csv"
    assert str(job) == "recipients.csv"
