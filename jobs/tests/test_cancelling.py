"""Taking a job back."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from callbacks.models import Callback
from jobs import cancelling
from jobs.cancelling import cancel_job, cancel_notifications
from jobs.models import Job
from jobs.processing import claim_job, process_rows
from letters.models import PrintRun
from notify.models import Notification
from notify.testing import make_endpoint, make_job, make_letter, make_notification, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def statuses(job):
    return list(job.notifications.order_by("job_row_number").values_list("status", flat=True))


def test_what_nobody_has_begun_to_send_is_cancelled_and_the_rest_stays():
    job = make_job(7)
    make_endpoint(job.service)
    kept = {
        "claimed": {"claimed_at": NOW},
        "sending": {"status": "sending"},
        "delivered": {"status": "delivered"},
        "invalid": {"status": "validation-failed"},
    }
    waiting = [make_notification(job), make_notification(job, due_at=NOW + SECOND), make_notification(job, due_at=None)]
    others = {label: make_notification(job, **fields) for label, fields in kept.items()}
    stranger = make_notification()
    assert cancel_job(job.pk, now=NOW) == 3
    assert statuses(job) == ["cancelled"] * 3 + ["created", "sending", "delivered", "validation-failed"]
    for message in waiting:
        message.refresh_from_db()
        assert (message.due_at, message.updated_at) == (None, NOW)
    told = Callback.objects.values_list("notification_id", "notification_status")
    assert set(told) == {(message.pk, "cancelled") for message in waiting}
    for message in [*others.values(), stranger]:
        before = message.status
        message.refresh_from_db()
        assert (message.status, message.updated_at) == (before, None)
    job.refresh_from_db()
    assert (job.status, job.progressed_at) == ("cancelled", NOW)


@pytest.mark.parametrize("status", Job.Status)
def test_every_job_but_a_cancelled_one_and_one_over_its_limit_can_be_cancelled(status):
    job = make_job(1, status=status)
    make_notification(job)
    if status in (Job.Status.CANCELLED, Job.Status.LIMITS_EXCEEDED):
        assert (cancel_job(job.pk, now=NOW), statuses(job)) == (None, ["created"])
        assert Job.objects.get().status == status
    else:
        assert (cancel_job(job.pk, now=NOW), statuses(job)) == (1, ["cancelled"])


def test_twice_cancels_once():
    job = make_job(1)
    make_notification(job)
    assert [cancel_job(job.pk, now=NOW), cancel_job(job.pk, now=NOW)] == [1, None]


def test_a_job_without_notifications_is_cancelled_too():
    job = make_job(status=Job.Status.SCHEDULED, scheduled_for=NOW)
    assert cancel_job(job.pk, now=NOW) == 0
    assert claim_job(job.pk, now=NOW) is None


def test_a_letter_in_a_print_file_stays_and_one_outside_is_cancelled():
    template = make_template(None, "letter")
    job = make_job(2, template=template)
    run = PrintRun.objects.create(day=NOW.date(), deadline=NOW)
    make_letter(notification=make_notification(job, 0), print_run=run)
    make_letter(notification=make_notification(job, 1))
    assert cancel_job(job.pk, now=NOW) == 1
    assert statuses(job) == ["created", "cancelled"]


def test_many_are_cancelled_in_batches_and_a_run_cut_off_can_be_repeated(monkeypatch):
    monkeypatch.setattr(cancelling, "BATCH", 2)
    job = make_job(5)
    for _ in range(5):
        make_notification(job)
    Job.objects.update(status=Job.Status.CANCELLED)
    job.notifications.filter(job_row_number=0).update(status="cancelled")
    assert cancel_notifications(job.pk, now=NOW) == 4
    assert cancel_notifications(job.pk, now=NOW) == 0


def test_notifications_of_a_job_that_is_not_cancelled_are_left_alone():
    job = make_job(1)
    make_notification(job)
    assert (cancel_notifications(job.pk, now=NOW), statuses(job)) == (0, ["created"])


def test_queries_do_not_grow_with_the_number_of_notifications(django_assert_max_num_queries):
    job = make_job(40)
    make_endpoint(job.service)
    for _ in range(40):
        make_notification(job)
    with django_assert_max_num_queries(20):
        assert cancel_job(job.pk, now=NOW) == 40


@pytest.mark.django_db(transaction=True)
def test_cancelling_while_a_chunk_is_being_written_leaves_no_created_row_behind(settings):
    settings.JOB_CHUNK_ROWS = 5
    job = make_job(50, status=Job.Status.PENDING)
    claimed, begun, cancelled = claim_job(job.pk, now=NOW), threading.Event(), []

    def take_back():
        begun.wait(10)
        try:
            cancelled.append(cancel_job(job.pk, now=NOW))
        finally:
            connection.close()

    canceller = threading.Thread(target=take_back)
    canceller.start()
    with transaction.atomic():  # a chunk that is written but not committed when the other wants to cancel
        Job.objects.filter(pk=job.pk, status=Job.Status.IN_PROGRESS).update(progressed_at=NOW)
        make_notification(claimed, 0)
        begun.set()
        canceller.join(0.5)
        assert cancelled == []  # it waits for the chunk
    canceller.join(20)
    assert not process_rows(claimed, clock=lambda: NOW)
    assert (cancelled, statuses(job)) == ([1], ["cancelled"])
    assert Notification.objects.count() == 1
