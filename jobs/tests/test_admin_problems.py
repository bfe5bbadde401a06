"""Jobs in trouble, in the admin: found by filter, mended by a button with a question, reported as a file."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from jobs import recovery
from jobs.admin_problems import process_incomplete_jobs, process_missing_rows
from jobs.models import Job
from notify.models import Alert, Notification
from notify.testing import make_job, make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
LIST = "/admin/jobs/job/"
HOUR = timedelta(hours=1)
Status = Job.Status


@pytest.fixture(autouse=True)
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    for task in (process_incomplete_jobs, process_missing_rows):
        monkeypatch.setattr(task, "apply_async", lambda args=(), *rest, name=task.name, **options: sent.append(name))
    return sent


def address(job, name):
    return reverse(f"admin:jobs_job_{name}", args=[job.pk])


@pytest.fixture
def troubled():
    """One job of each trouble, and a healthy one."""
    past = timezone.now() - HOUR
    return {
        "stalled": make_job(status=Status.IN_PROGRESS, progressed_at=past),
        "missing": make_job(status=Status.FINISHED),
        "given-up": make_job(status=Status.ERROR, recoveries=3),
        "healthy": make_job(status=Status.COMPLETE),
    }


@pytest.mark.parametrize(
    ("choice", "found"),
    [("stalled", ["stalled"]), ("missing", ["missing"]), ("incomplete", ["missing"]), ("given-up", ["given-up"]),
     ("nonsense", ["stalled", "missing", "given-up", "healthy"])],
)  # fmt: skip
def test_the_filter_shows_what_the_watchdogs_find(admin_client, troubled, choice, found):
    shown = admin_client.get(LIST, {"problem": choice}).context["cl"].queryset
    assert {job.pk for job in shown} == {troubled[name].pk for name in found}


def test_the_page_names_the_missing_rows_and_offers_the_remedy(admin_client):
    job = make_job(rows=150)
    make_notification(job, 1)
    page = admin_client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    assert "149 rows of the file have no message." in page
    assert "File rows 2, 4, 5," in page
    assert "and 49 more" in page
    assert address(job, "repair") in page
    assert address(job, "resume") not in page


def test_missing_rows_are_asked_about_first_then_processed_once_and_written_down(
    admin_client, woken, django_capture_on_commit_callbacks
):
    job = make_job()
    question = admin_client.get(address(job, "repair")).content.decode()
    assert "Exactly the rows without a message" in question
    assert woken == []
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            answer = admin_client.post(address(job, "repair"), follow=True)
    assert woken == ["jobs.process_missing_rows"]
    assert "Already done" in answer.content.decode()
    assert LogEntry.objects.get().object_id == str(job.pk)


def test_a_job_given_up_gets_its_tries_back_and_its_alert_closes(
    admin_client, woken, django_capture_on_commit_callbacks
):
    job = make_job(status=Status.ERROR, recoveries=3)
    Alert.objects.create(kind="job-stalled", scope=f"job {job.pk}", message="x")
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            admin_client.post(address(job, "resume"))
    job.refresh_from_db()
    assert (woken, job.recoveries) == (["jobs.process_incomplete_jobs"], 0)
    assert not Alert.objects.open().exists()
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("name", ["resume", "repair"])
def test_a_healthy_or_archived_job_has_no_remedy(admin_client, woken, name):
    for job in (make_job(status=Status.COMPLETE), make_job(status=Status.ERROR, archived=True)):
        assert "Already done" in admin_client.get(address(job, name), follow=True).content.decode()
        assert "Already done" in admin_client.post(address(job, name), follow=True).content.decode()
    assert woken == []


def test_who_may_only_look_can_neither_mend_nor_find_other_jobs(client):
    job = make_job()
    client.force_login(User.objects.create_user("viewer", is_staff=True))
    for name in ("repair", "resume", "report"):
        assert client.post(address(job, name)).status_code in (403, 404, 405)
    assert client.get(reverse("admin:jobs_job_report", args=[uuid4()])).status_code in (403, 404)


def test_the_report_is_streamed_as_a_file(admin_client):
    job = make_job()
    answer = admin_client.get(address(job, "report"))
    assert answer.streaming
    assert f"report-{job.pk}.csv" in answer["Content-Disposition"]
    assert b"".join(answer.streaming_content).count(b"\r\n") == 4


def test_one_message_to_oneself(admin_client):
    template = make_template()
    page = reverse("admin:jobs_job_send_one", args=[template.pk])
    assert page in admin_client.get(reverse("admin:notify_template_change", args=[template.pk])).content.decode()
    shown = admin_client.get(page).content.decode()
    assert "name" in shown
    bad = admin_client.post(page, {"to": "12", "value_0": "Jo", "value_1": "1 May"})
    assert "PHONE_TOO_SHORT" in bad.content.decode()
    missing = admin_client.post(page, {"to": "07700900123", "value_0": "Jo"})
    assert "VALUE_MISSING" in missing.content.decode()
    assert not Notification.objects.exists()
    sent = admin_client.post(page, {"to": "07700900123", "value_0": "Jo", "value_1": "1 May"}, follow=True)
    assert "One message is on its way." in sent.content.decode()
    assert Notification.objects.get().recipient == "+447700900123"


def test_an_answered_request_leaves_no_word_of_waiting_on_the_job():
    job = make_job()
    assert recovery.ask_for_missing_rows(job.pk, now=timezone.now())
    assert Job.objects.get().status_reason == recovery.ASKED
    assert recovery.process_missing_rows(job.pk, clock=timezone.now) == 3
    assert (Job.objects.get().status, Job.objects.get().status_reason) == (Status.COMPLETE, "")


def test_a_lost_request_for_missing_rows_can_be_repeated_after_the_limit_and_not_before(settings):
    now, job = timezone.now(), make_job()
    limit = settings.JOB_MISSING_ROWS_AFTER
    assert recovery.ask_for_missing_rows(job.pk, now=now)
    assert not recovery.ask_for_missing_rows(job.pk, now=now + limit - timedelta(seconds=1))
    assert recovery.ask_for_missing_rows(job.pk, now=now + limit)


def test_rows_of_a_service_that_is_switched_off_are_not_asked_for():
    job = make_job(service=make_service(active=False))
    assert not recovery.ask_for_missing_rows(job.pk, now=timezone.now())


def test_who_may_look_at_jobs_but_not_change_them_is_offered_no_remedy(client, woken):
    job = make_job(status=Status.ERROR, recoveries=3)
    visitor = User.objects.create_user("visitor", is_staff=True)
    visitor.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(visitor)
    page = client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    assert address(job, "report") in page
    assert address(job, "resume") not in page
    assert client.post(address(job, "resume")).status_code == 403
    assert (Job.objects.get().recoveries, woken) == (3, [])
