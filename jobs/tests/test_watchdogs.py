"""Scheduled jobs start when their time has come; every pending job is nudged."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from jobs.models import Job
from jobs.watchdogs import describe_rows, run_scheduled_jobs
from notify.testing import make_job

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # the clocks went back half an hour ago
SECOND = timedelta(seconds=1)
Status = Job.Status


def scheduled(when, **fields):
    return make_job(
        1, status=Status.SCHEDULED, scheduled_for=when, **({"created_at": NOW - timedelta(days=2)} | fields)
    )


def test_a_job_starts_at_its_second_and_by_any_amount_later():
    jobs = {
        "a second early": scheduled(NOW + SECOND),
        "on the second": scheduled(NOW),
        "a second late": scheduled(NOW - SECOND),
        "months late": scheduled(NOW - timedelta(days=100)),
    }
    started, nudged = run_scheduled_jobs(now=NOW)
    assert (started, set(nudged)) == (3, {job.pk for label, job in jobs.items() if label != "a second early"})
    for label, job in jobs.items():
        job.refresh_from_db()
        wanted = ("scheduled", job.progressed_at) if label == "a second early" else ("pending", NOW)
        assert (job.status, job.progressed_at) == wanted, label


def test_a_second_run_starts_nothing_and_nudges_again():
    job = scheduled(NOW)
    assert run_scheduled_jobs(now=NOW) == (1, [job.pk])
    assert run_scheduled_jobs(now=NOW + SECOND) == (0, [job.pk])


def test_every_pending_job_is_nudged_the_oldest_first_and_no_other():
    young, old = (make_job(1, status=Status.PENDING, created_at=NOW - age * SECOND) for age in (1, 2))
    make_job(1, status=Status.PENDING, archived=True)
    for status in set(Status) - {Status.PENDING, Status.SCHEDULED}:
        make_job(1, status=status)
    assert run_scheduled_jobs(now=NOW) == (0, [old.pk, young.pk])


def test_the_longest_overdue_start_first_where_the_run_is_capped():
    late, later, latest = (scheduled(NOW - age * SECOND, created_at=NOW) for age in (1, 3, 2))
    started, nudged = run_scheduled_jobs(now=NOW, limit=2)
    assert (started, set(nudged)) == (2, {later.pk, latest.pk})
    late.refresh_from_db()
    assert late.status == "scheduled"
    assert run_scheduled_jobs(now=NOW)[0] == 1


def test_nothing_to_do_costs_two_queries_and_twenty_jobs_hardly_more(django_assert_max_num_queries):
    with django_assert_max_num_queries(5):
        assert run_scheduled_jobs(now=NOW) == (0, [])
    for _ in range(20):
        scheduled(NOW)
    with django_assert_max_num_queries(6):
        assert run_scheduled_jobs(now=NOW)[0] == 20


@pytest.mark.django_db(transaction=True)
def test_two_at_once_start_each_job_once():
    for _ in range(40):
        scheduled(NOW)
    together, counts = threading.Barrier(2), []

    def work():
        try:
            together.wait(10)
            counts.append(run_scheduled_jobs(now=NOW)[0])
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert (len(counts), sum(counts)) == (2, 40)
    assert set(Job.objects.values_list("status", flat=True)) == {"pending"}


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([0], "1 of its rows (file rows 2)"),
        (list(range(20)), "20 of its rows (file rows " + ", ".join(map(str, range(2, 22))) + ")"),
        (list(range(1_021)), "1,021 of its rows (file rows " + ", ".join(map(str, range(2, 22))) + " and 1,001 more)"),
    ],
)
def test_rows_are_named_as_people_count_them_up_to_twenty(numbers, words):
    assert describe_rows(numbers) == words
