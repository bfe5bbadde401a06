"""The admin pages of jobs: adding one, watching it, cancelling it."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs.admin_upload import process_job
from jobs.models import Job
from notify.models import Notification
from notify.testing import make_job, make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
LIST, ADD, CONFIRM = "/admin/jobs/job/", "/admin/jobs/job/add/", "/admin/jobs/job/confirm/"
CSV = b"phone number,name,date\n07700900123,Anna,1 May\n07700900124,Bo,2 May\n"
Status = Job.Status


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files of jobs out of the installation's own folder."""
    settings.STORAGES = settings.STORAGES | {
        "jobs": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }
    return tmp_path


@pytest.fixture
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    monkeypatch.setattr(process_job, "apply_async", lambda args=(), *rest, **options: sent.append(*args))
    return sent


def page(job):
    """Where a job's page is."""
    return reverse("admin:jobs_job_change", args=[job.pk])


def form(template, *, data=CSV, name="people.csv", **fields):
    """Fill in the form."""
    file = SimpleUploadedFile(name, data, content_type="text/csv")
    filled = {"job_id": str(uuid4()), "service": str(template.service_id), "template": str(template.pk), "file": file}
    return filled | fields


def agree(client, shown, **fields):
    """Agree to what the preview shows."""
    assert (shown.status_code, Job.objects.exists()) == (200, False)
    found = shown.context["form"]
    answers = {name: found[name].value() for name in ("token", "job_id")} | {"accept_invalid": "on"} | fields
    return client.post(CONFIRM, answers)


def add(client, filled, **fields):
    """Send a form and agree to the preview."""
    return agree(client, client.post(ADD, filled), **fields)


def refused(client, filled):
    """Send a form that must be refused, and return the page."""
    answer = client.post(ADD, filled)
    assert answer.status_code == 200
    assert not Job.objects.exists()
    return answer


def test_a_file_becomes_a_job_that_is_woken_after_commit(
    admin_client, admin_user, woken, storage, django_capture_on_commit_callbacks
):
    template = make_template()
    with django_capture_on_commit_callbacks() as callbacks:
        answer = add(admin_client, form(template))
    job = Job.objects.get()
    assert answer.url == page(job)
    assert (job.notification_count, job.status, job.created_by) == (2, Status.PENDING, admin_user)
    assert job.original_file_name == "people.csv"
    assert (storage / job.file.name).read_bytes() == CSV
    assert woken == []
    for callback in callbacks:
        callback()
    assert woken == [str(job.pk)]
    assert LogEntry.objects.get().object_id == str(job.pk)


def test_sending_the_form_twice_makes_one_job_and_says_so(admin_client, woken):
    template = make_template()
    filled = form(template)
    shown = admin_client.post(ADD, filled)
    first = agree(admin_client, shown)
    found = {name: shown.context["form"][name].value() for name in ("token", "job_id")}
    twice = admin_client.post(CONFIRM, found, follow=True)
    assert twice.redirect_chain[0][0] == first.url
    assert "already made" in twice.content.decode()
    again = admin_client.post(ADD, form(template, job_id=filled["job_id"]), follow=True)
    assert Job.objects.count() == 1
    assert again.redirect_chain[0][0] == first.url
    assert "already made" in again.content.decode()
    assert LogEntry.objects.count() == 1


def test_each_form_has_an_id_of_its_own_and_keeps_it_after_a_mistake(admin_client):
    def shown(answer):
        return str(answer.context["form"]["job_id"].value())

    assert shown(admin_client.get(ADD)) != shown(admin_client.get(ADD))
    filled = form(make_template(), data=b"")
    assert shown(refused(admin_client, filled)) == filled["job_id"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "CSV_EMPTY"),
        (b"phone number,name,date\n", "CSV_NO_ROWS"),
        (b"phone number,nmae,date\n07700900123,Anna,1 May\n", "CSV_MISSING_COLUMN"),
        (b"phone number,name,date\n07700900123,Zo\x81,1 May\n", "CSV_ENCODING"),  # not Windows-1252 either
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_its_field_with_nothing_stored(admin_client, storage, data, code):
    answer = refused(admin_client, form(make_template(), data=data))
    assert code in answer.context["form"].errors["file"][0]
    assert not list(storage.rglob("*.csv"))


def test_windows_1252_is_read_when_the_sender_says_so(admin_client, woken):
    data = "phone number,name,date\n07700900123,Zoë,1 May\n".encode("cp1252")
    assert add(admin_client, form(make_template(), data=data, encoding="cp1252")).status_code == 302
    assert Job.objects.get().encoding == "cp1252"


def test_a_template_of_another_service_is_refused(admin_client):
    answer = refused(admin_client, form(make_template(), service=str(make_service().pk)))
    assert "TEMPLATE_OF_OTHER_SERVICE" in answer.context["form"].errors["template"][0]


def test_a_service_that_is_switched_off_is_not_offered(admin_client):
    template = make_template(make_service(active=False))
    answer = refused(admin_client, form(template))
    assert set(answer.context["form"].errors) == {"service", "template"}


def test_more_rows_than_the_day_allows_are_refused_with_the_number_left(admin_client):
    template = make_template(make_service(sms_daily_limit=1))
    answer = refused(admin_client, form(template))
    assert "DAILY_LIMIT" in answer.context["form"].non_field_errors()[0]
    assert "only 1 more" in answer.context["form"].non_field_errors()[0]


@pytest.mark.time_machine(datetime(2026, 11, 24, 9, 0, tzinfo=UTC), tick=False)
@pytest.mark.parametrize(
    ("typed", "code"),
    [("2026-11-24T08:59", "SCHEDULE_PAST"), ("2026-12-01T09:01", "SCHEDULE_TOO_FAR"), ("soon", "SCHEDULE_UNREADABLE")],
)
def test_a_time_that_cannot_be_kept_is_refused_at_its_field(admin_client, typed, code):
    answer = refused(admin_client, form(make_template(), scheduled_for=typed))
    assert code in answer.context["form"].errors["scheduled_for"][0]


@pytest.mark.time_machine(datetime(2026, 6, 30, 12, 0, tzinfo=UTC), tick=False)
def test_a_scheduled_time_is_local_and_such_a_job_is_not_woken(admin_client, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.get(add(admin_client, form(make_template(), scheduled_for="2026-07-01T09:30")).url)
    job = Job.objects.get()
    assert (job.status, job.scheduled_for) == (Status.SCHEDULED, datetime(2026, 7, 1, 8, 30, tzinfo=UTC))
    assert "to be sent 1 Jul 2026, 09:30 BST" in answer.content.decode()
    assert woken == []


@pytest.mark.time_machine(datetime(2026, 3, 28, 12, 0, tzinfo=UTC), tick=False)
def test_a_time_that_clocks_skip_in_spring_is_refused(admin_client):
    answer = refused(admin_client, form(make_template(), scheduled_for="2026-03-29T01:30"))
    assert "SCHEDULE_NO_SUCH_TIME" in answer.context["form"].errors["scheduled_for"][0]


@pytest.mark.time_machine(datetime(2026, 10, 24, 12, 0, tzinfo=UTC), tick=False)
def test_of_a_time_that_comes_twice_in_autumn_the_first_is_taken_with_a_note(admin_client):
    answer = admin_client.get(add(admin_client, form(make_template(), scheduled_for="2026-10-25T01:30")).url)
    assert Job.objects.get().scheduled_for == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert "twice; the first is taken" in answer.content.decode()


def test_the_page_and_its_fragment_show_the_progress_and_lead_to_the_messages(admin_client):
    job = make_job(rows=3, status=Status.IN_PROGRESS)
    make_notification(job, status="delivered")
    for address in (page(job), reverse("admin:jobs_job_progress", args=[job.pk])):
        shown = admin_client.get(address).content.decode()
        assert "1 of 3 rows became messages." in shown
        assert 'data-done="no"' in shown
        assert f"job={job.pk}&amp;status__exact=delivered" in shown
    listed = admin_client.get("/admin/notify/notification/", {"job": job.pk, "status__exact": "delivered"})
    assert len(listed.context["cl"].result_list) == 1
    assert "By job" in listed.content.decode()


def test_the_fragment_is_for_those_who_may_look_and_for_jobs_that_exist(admin_client, client):
    job = make_job()
    address = reverse("admin:jobs_job_progress", args=[job.pk])
    assert admin_client.post(address).status_code == 405
    assert admin_client.get(reverse("admin:jobs_job_progress", args=[uuid4()])).status_code == 404
    assert client.get(address).status_code == 302
    client.force_login(User.objects.create_user("visitor", is_staff=True))
    assert client.get(address).status_code == 404


def test_cancelling_asks_first_and_then_leaves_a_log_entry(admin_client):
    job = make_job(rows=5, status=Status.IN_PROGRESS)
    waiting, sent = make_notification(job), make_notification(job, status="sending")
    cancel = reverse("admin:jobs_job_cancel", args=[job.pk])
    question = admin_client.get(cancel).content.decode()
    assert "3 rows that have not become messages yet never will" in question
    assert "Up to 1 waiting message will be cancelled" in question
    job.refresh_from_db()
    assert job.status == Status.IN_PROGRESS

    told = admin_client.post(cancel, follow=True).content.decode()
    assert "The job is cancelled, 1 message with it." in told
    statuses = dict(Notification.objects.values_list("pk", "status"))
    assert statuses == {waiting.pk: "cancelled", sent.pk: "sending"}
    assert "Cancelled" in LogEntry.objects.get().change_message
    again = admin_client.post(cancel, follow=True).content.decode()
    assert "already" in again
    assert LogEntry.objects.count() == 1


def test_only_who_may_change_jobs_may_cancel_them(client):
    job = make_job(status=Status.IN_PROGRESS)
    visitor = User.objects.create_user("visitor", is_staff=True)
    visitor.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(visitor)
    cancel = reverse("admin:jobs_job_cancel", args=[job.pk])
    assert "Cancel job" not in client.get(page(job)).content.decode()
    assert client.post(cancel).status_code == 403
    assert client.get(ADD).status_code == 403
    job.refresh_from_db()
    assert job.status == Status.IN_PROGRESS


def test_a_stored_job_is_neither_edited_nor_deleted(admin_client):
    job = make_job()
    assert admin_client.post(page(job), {"status": "pending"}).status_code == 403
    assert admin_client.post(reverse("admin:jobs_job_delete", args=[job.pk]), {"post": "yes"}).status_code == 403
    assert Job.objects.get().status == Status.FINISHED


def test_the_list_takes_as_many_queries_for_twenty_rows_as_for_one(admin_client):
    make_job()
    with CaptureQueriesContext(connection) as one:
        admin_client.get(LIST)
    for _ in range(19):
        make_job()
    with CaptureQueriesContext(connection) as twenty:
        assert admin_client.get(LIST).status_code == 200
    assert len(twenty) == len(one)


def test_the_list_finds_a_job_by_its_files_name_or_its_id(admin_client):
    job = make_job(original_file_name="renewals.csv")
    make_job()
    for text in ("renew", str(job.pk)):
        assert list(admin_client.get(LIST, {"q": text}).context["cl"].queryset) == [job], text
