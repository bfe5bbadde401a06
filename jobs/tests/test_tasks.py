"""The tasks around jobs: what they enqueue, when, and what they write down when something fails."""

import uuid
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from jobs import tasks
from jobs.models import Job, job_storage
from jobs.recipients_file import FileProblem
from letters.tasks import render_letter_pdfs
from notify.models import Notification, TemplateVersion
from notify.testing import make_job, make_service, make_template
from providers.tasks import send_due_notifications

pytestmark = pytest.mark.django_db
SECRET = "07700900123"


def pending(rows=3, **fields):
    return make_job(rows, status=Job.Status.PENDING, **fields)


def name_of(callback):
    """Return the name of the task that a callback publishes."""
    return callback.func.__self__.name


def test_process_job_makes_the_notifications_and_wakes_sending_after_commit(django_capture_on_commit_callbacks):
    job = pending()
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.process_job(str(job.pk)) == {"processed": 1}
    job.refresh_from_db()
    assert (job.status, job.notifications.count()) == ("finished all notifications created", 3)
    assert [name_of(callback) for callback in woken] == [send_due_notifications.name]


def test_a_job_of_letters_wakes_rendering_instead(django_capture_on_commit_callbacks):
    job = pending(template=make_template(None, "letter"))
    with django_capture_on_commit_callbacks() as woken:
        tasks.process_job(str(job.pk))
    assert [name_of(callback) for callback in woken] == [render_letter_pdfs.name]


def test_repairing_a_job_wakes_whatever_its_messages_need(django_capture_on_commit_callbacks):
    job = make_job(template=make_template(None, "letter"))
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.process_missing_rows(str(job.pk)) == {"repaired": 3}
    assert {name_of(callback) for callback in woken} == {send_due_notifications.name, render_letter_pdfs.name}


def test_a_second_copy_of_the_message_finds_nothing(django_capture_on_commit_callbacks):
    job = pending()
    tasks.process_job(str(job.pk))
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.process_job(str(job.pk)) == {"processed": 0}
    assert (woken, Notification.objects.count()) == ([], 3)


def test_a_job_that_is_gone_is_no_error():
    assert tasks.process_job(str(uuid.uuid4())) == {"processed": 0}


def test_a_job_that_may_not_run_enqueues_nothing(django_capture_on_commit_callbacks):
    job = pending(template=make_template(make_service(active=False)))
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.process_job(str(job.pk)) == {"processed": 0}
    assert woken == []


def overwrite(job, data):
    with job_storage().open(job.file.name, "wb") as file:
        file.write(data)


def failing(job, error):
    """Run a job that cannot be processed. Returns the reason it then carries."""
    with pytest.raises(error):
        tasks.process_job(str(job.pk))
    job.refresh_from_db()
    assert job.status == "error"
    assert timezone.now() - job.progressed_at < timedelta(minutes=1)
    assert SECRET not in job.status_reason
    return job.status_reason


def test_a_file_that_is_gone_sets_error_at_once_with_the_reason():
    job = pending()
    job_storage().delete(job.file.name)
    assert failing(job, FileNotFoundError) == "its file is gone from the storage"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "CSV_EMPTY"),
        (b"phone number,name,date\n" + f'{SECRET},"{SECRET},1 May\n'.encode() * 3, "CSV_QUOTE"),
        (b"phone number,name,date\n" + SECRET.encode() + b",\xff\xff,1 May\n", "CSV_ENCODING"),
        (b"phone number,name,date\n" + SECRET.encode() + b",\0,1 May\n", "CSV_CONTROL_CHAR"),
    ],
)
def test_a_file_that_was_damaged_sets_error_with_a_reason_that_quotes_no_row(data, code):
    job = pending()
    overwrite(job, data)
    assert failing(job, FileProblem).startswith(f"its file cannot be read: {code}: ")


def test_a_version_that_is_gone_sets_error():
    job = pending()
    job.template.versions.all().delete()
    assert failing(job, TemplateVersion.DoesNotExist) == "processing raised DoesNotExist"


def test_what_was_made_before_a_failure_stays_and_is_sent(settings, django_capture_on_commit_callbacks):
    settings.JOB_CHUNK_ROWS = 2
    job = pending(6)
    good = job.file.read().splitlines(keepends=True)
    job.file.close()
    overwrite(job, b"".join(good[:5]) + b'"never closed')
    with django_capture_on_commit_callbacks() as woken:
        failing(job, FileProblem)
    assert sorted(job.notifications.values_list("job_row_number", flat=True)) == [0, 1, 2, 3]
    assert [name_of(callback) for callback in woken] == [send_due_notifications.name]


def test_run_scheduled_jobs_enqueues_each_pending_job_after_commit(django_capture_on_commit_callbacks):
    due = make_job(status=Job.Status.SCHEDULED, scheduled_for=timezone.now())
    waiting = pending()
    make_job(status=Job.Status.SCHEDULED, scheduled_for=timezone.now() + timedelta(hours=1))
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.run_scheduled_jobs() == {"found": 1}
        assert woken == []  # nothing before the commit
    assert [name_of(callback) for callback in woken] == [tasks.process_job.name] * 2
    assert {callback.args for callback in woken} == {(str(due.pk),), (str(waiting.pk),)}
    assert {due.pk, waiting.pk} == set(Job.objects.filter(status="pending").values_list("pk", flat=True))


def test_a_run_that_is_rolled_back_enqueues_nothing(django_capture_on_commit_callbacks):
    make_job(status=Job.Status.SCHEDULED, scheduled_for=timezone.now())
    with django_capture_on_commit_callbacks() as woken, transaction.atomic():
        assert tasks.run_scheduled_jobs() == {"found": 1}
        transaction.set_rollback(True)
    assert (woken, Job.objects.get().status) == ([], "scheduled")
