"""A job's way from pending to complete, once or many times, alone or together."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs.creation import create_job
from jobs.models import Job
from jobs.processing import claim_job, complete_if_counted, fail_job, process_rows, reason_of
from jobs.recipients_file import FileProblem
from letters.models import Letter
from notify.models import Notification, Service
from notify.testing import good_rows, make_job, make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SAMPLES = Path(__file__).parents[2] / "samples"
SMS = "((name)), your appointment is on ((date)) at ((place)). Ref ((reference))"


def clock():
    return NOW


def pending(rows=3, **fields):
    return make_job(rows, status=Job.Status.PENDING, **fields)


def run(job, **options):
    """Claim and process a job. Returns its status afterwards."""
    claimed = claim_job(job.pk, now=NOW)
    if claimed:
        process_rows(claimed, clock=clock, **options)
    job.refresh_from_db()
    return job.status


def numbers(job):
    return sorted(job.notifications.values_list("job_row_number", flat=True))


@pytest.mark.parametrize(
    ("name", "kind", "subject", "content", "good", "bad"),
    [
        ("appointments_sms", "sms", "", SMS, 5_000, 8),
        (
            "renewals_email",
            "email",
            "Licence ((licence number)) expires on ((expires on))",
            "Dear ((first name))",
            3_000,
            5,
        ),
        ("council_letters", "letter", "Council tax", "Dear ((name)), you owe ((amount)) by ((due date)).", 400, 1),
        ("windows_export", "sms", "", SMS, 200, 0),
    ],
)
def test_the_samples_are_processed_to_the_last_row(name, kind, subject, content, good, bad):
    template = make_template(None, kind, subject=subject, content=content)
    encoding = "cp1252" if name == "windows_export" else None
    with (SAMPLES / f"{name}.csv").open("rb") as file:
        job = create_job(
            file, service=template.service, template=template, file_name=f"{name}.csv", now=NOW, encoding=encoding
        )
    assert (run(job), job.notification_count) == ("finished all notifications created", good + bad)
    assert numbers(job) == list(range(good + bad))
    invalid = job.notifications.exclude(status="created")
    assert sorted(invalid.values_list("job_row_number", flat=True)) == list(range(good, good + bad))
    assert set(invalid.values_list("status", flat=True)) <= {"validation-failed"}
    assert Letter.objects.count() == (good if kind == "letter" else 0)


def test_a_job_goes_from_pending_to_complete_with_its_moments():
    job = pending()
    assert run(job) == "finished all notifications created"
    assert (job.processing_started, job.processing_finished, job.progressed_at) == (NOW, NOW, NOW)


def test_a_job_is_claimed_once():
    job = pending()
    assert claim_job(job.pk, now=NOW).pk == job.pk
    assert claim_job(job.pk, now=NOW) is None


@pytest.mark.parametrize("status", [status for status in Job.Status if status != Job.Status.PENDING])
def test_only_a_pending_job_is_claimed(status):
    job = make_job(status=status)
    assert claim_job(job.pk, now=NOW) is None
    assert Job.objects.get().status == status


def test_an_archived_job_is_not_claimed():
    assert claim_job(pending(archived=True).pk, now=NOW) is None


@pytest.mark.parametrize("gone", [[], [0], [3], [6], [0, 2, 4, 6], list(range(7))])
def test_a_second_run_fills_exactly_what_is_missing(gone, settings):
    settings.JOB_CHUNK_ROWS = 2
    job = pending(7)
    run(job)
    job.notifications.filter(job_row_number__in=gone).delete()
    kept = set(job.notifications.values_list("pk", flat=True))
    Job.objects.update(status=Job.Status.IN_PROGRESS)
    job.refresh_from_db()
    assert process_rows(job, clock=clock)
    assert numbers(job) == list(range(7))
    assert kept <= set(job.notifications.values_list("pk", flat=True))
    job.refresh_from_db()
    assert job.status == "finished all notifications created"


def test_a_complete_job_processed_again_asks_first_and_inserts_nothing():
    job = pending(50)
    run(job)
    job.file.storage.delete(job.file.name)  # nor does it read the file
    with CaptureQueriesContext(connection) as queries:
        assert not process_rows(job, clock=clock)
    assert len(queries) <= 2
    assert not any("INSERT" in query["sql"] or "COPY" in query["sql"] for query in queries)
    assert Job.objects.get().status == "finished all notifications created"


@pytest.mark.django_db(transaction=True)
def test_two_workers_on_one_job_at_once_make_each_row_once(settings):
    settings.JOB_CHUNK_ROWS = 20
    job, together, errors = pending(200), threading.Barrier(2), []
    mine = claim_job(job.pk, now=NOW)

    def work():
        first = True

        def moment():
            nonlocal first
            if first:  # both have asked which rows exist, and found none
                first = False
                together.wait(10)
            return NOW

        try:
            process_rows(Job.objects.select_related("service", "template").get(pk=mine.pk), clock=moment)
        except Exception as error:  # noqa: BLE001 - handed to the test
            errors.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert (errors, numbers(job)) == ([], list(range(200)))
    assert Job.objects.get().status == "finished all notifications created"


@pytest.mark.parametrize("status", [Job.Status.CANCELLED, Job.Status.ERROR])
def test_a_job_that_is_moved_half_way_stops_at_the_next_chunk(settings, status):
    settings.JOB_CHUNK_ROWS = 10
    job = pending(100)
    claimed, writes = claim_job(job.pk, now=NOW), []

    def moment():
        if Notification.objects.count() >= 20 and not writes:
            writes.append(Job.objects.filter(pk=job.pk).move_to(status, now=NOW))
        return NOW

    # The clock is asked in the thread that builds too; in a test only this one sees the rows.
    main = threading.get_ident()
    assert not process_rows(claimed, clock=lambda: moment() if threading.get_ident() == main else NOW)
    assert (numbers(job), Job.objects.get().status) == (list(range(20)), status)


def test_a_service_that_is_switched_off_half_way_stops_its_job(settings):
    settings.JOB_CHUNK_ROWS = 10
    job = pending(100)
    claimed, main = claim_job(job.pk, now=NOW), threading.get_ident()

    def moment():
        if threading.get_ident() == main and Notification.objects.count() >= 20:
            Service.objects.update(active=False)
        return NOW

    assert not process_rows(claimed, clock=moment)
    job.refresh_from_db()
    assert (numbers(job), job.status, job.status_reason) == (
        list(range(20)),
        "cancelled",
        "The service is switched off.",
    )
    assert set(job.notifications.values_list("status", flat=True)) == {"created"}  # they wait


def test_an_inactive_service_has_its_job_cancelled_with_the_reason():
    job = pending(template=make_template(make_service(active=False)))
    assert (run(job), job.status_reason) == ("cancelled", "The service is switched off.")
    assert not Notification.objects.exists()


@pytest.mark.parametrize("kind", ["sms", "letter"])
def test_the_number_of_queries_is_the_same_for_ten_and_for_a_thousand_rows(kind):
    counts = []
    for rows in (10, 1_000):
        job = pending(good_rows(rows, kind), template=make_template(None, kind))
        with CaptureQueriesContext(connection) as queries:
            run(job)
        counts.append(len(queries))
        assert job.notifications.count() == rows
    assert counts[0] == counts[1] <= 30


def test_a_job_is_complete_only_when_counted_equal():
    job = make_job(2, status=Job.Status.FINISHED)
    assert not complete_if_counted(job.pk, now=NOW)  # none at all
    make_notification(job)
    assert not complete_if_counted(job.pk, now=NOW)
    make_notification(job)
    assert complete_if_counted(job.pk, now=NOW)
    assert not complete_if_counted(job.pk, now=NOW)


def test_the_reason_of_a_failure_quotes_no_row():
    secret = "07700900001"
    assert reason_of(FileNotFoundError(2, "No such file", f"/files/{secret}")) == "its file is gone from the storage"
    assert reason_of(ValueError(secret)) == "processing raised ValueError"
    assert reason_of(FileProblem("CSV_QUOTE", "Row 5 …")) == "its file cannot be read: CSV_QUOTE: Row 5 …"


def test_a_failure_is_written_only_where_the_job_still_runs():
    running, cancelled = make_job(status=Job.Status.IN_PROGRESS), make_job(status=Job.Status.CANCELLED)
    for job in (running, cancelled):
        fail_job(job.pk, ValueError("x"), now=NOW)
        job.refresh_from_db()
    assert (running.status, running.progressed_at) == ("error", NOW)
    assert (cancelled.status, cancelled.status_reason) == ("cancelled", "")
