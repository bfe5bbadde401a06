"""The dry run of watchdogs: it shows everything and changes nothing; --apply does it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from jobs.models import Job
from notify import schedule
from notify.models import Alert, Notification
from notify.testing import make_job, make_notification

HOUR = timedelta(hours=1)


def run(name, *arguments):
    out = StringIO()
    call_command("run_watchdog", name, *arguments, stdout=out)
    return out.getvalue()


def everything():
    """Every row a watchdog may touch, with its values."""
    return [list(model.objects.order_by("pk").values()) for model in (Job, Alert, Notification)]


@pytest.mark.django_db
@pytest.mark.parametrize("row", schedule.ROWS, ids=lambda row: row.task)
def test_every_scheduled_task_has_a_dry_run_that_finds_nothing_in_an_empty_house(row):
    assert row.task in run(row.task)


@pytest.mark.django_db
def test_a_dry_run_changes_nothing_and_enqueues_nothing(django_capture_on_commit_callbacks):
    stalled = make_job(status="in progress", progressed_at=timezone.now() - HOUR)
    make_job(status="error", recoveries=3)
    before = everything()
    with django_capture_on_commit_callbacks() as callbacks:
        text = run("jobs.check_job_status")
    assert everything() == before
    assert callbacks == []
    assert "found: 1" in text
    assert f"then jobs.process_incomplete_jobs ['{stalled.pk}']" in text
    assert "alert job-stalled" in text
    assert "Nothing was changed" in text


@pytest.mark.django_db
def test_apply_does_it_and_enqueues_after_commit(django_capture_on_commit_callbacks):
    stalled = make_job(status="in progress", progressed_at=timezone.now() - HOUR)
    with django_capture_on_commit_callbacks() as callbacks:
        text = run("jobs.check_job_status", "--apply")
    stalled.refresh_from_db()
    assert stalled.status == "error"
    assert len(callbacks) == 1
    assert "did this" in text
    assert "Nothing was changed" not in text


@pytest.mark.django_db
def test_a_loop_is_not_run_but_lists_what_is_due():
    now = timezone.now()
    due = [make_notification(due_at=now - HOUR - timedelta(seconds=number)) for number in range(12)]
    make_notification(due_at=now + HOUR)
    text = run("providers.send_due_notifications")
    assert "12 due, the oldest since" in text
    assert [line.strip() for line in text.splitlines() if line.startswith("  ")] == [str(row.pk) for row in due[:1:-1]]
    assert set(Notification.objects.values_list("status", "attempts")) == {("created", 0)}


@pytest.mark.django_db
def test_a_name_that_is_no_watchdog_ends_with_two_and_names_those_there_are():
    for name in ("jobs.process_job", "nonsense", ""):
        with pytest.raises(CommandError, match=r"Known: jobs\.run_scheduled_jobs") as refused:
            run(name)
        assert refused.value.returncode == 2


def process(job, *arguments):
    out = StringIO()
    call_command("process_missing_rows", str(getattr(job, "pk", job)), *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_process_missing_rows_names_them_makes_them_and_can_be_repeated():
    job = make_job(rows=4, created_at=timezone.now() - timedelta(days=30))
    make_notification(job, 1)
    assert "3 of its rows (file rows 2, 4, 5) have no message" in process(job, "--dry-run")
    assert job.notifications.count() == 1
    assert "3 made." in process(job)
    assert sorted(job.notifications.values_list("job_row_number", flat=True)) == [0, 1, 2, 3]
    assert "has all its 4 notifications" in process(job)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"archived": True}, 3, "archived"),
        ({"status": "pending"}, 3, "pending"),
        ({"status": "error"}, 3, "Resume"),
        ({"status": "cancelled"}, 3, "cancelled"),
        ({"status": "finished all notifications created"}, 3, "counted complete"),
    ],
)
def test_process_missing_rows_refuses_a_job_in_another_state(fields, code, words):
    job = make_job(**fields)
    with pytest.raises(CommandError, match=words) as refused:
        process(job)
    assert refused.value.returncode == code
    assert not job.notifications.exists()


@pytest.mark.django_db
def test_process_missing_rows_of_a_service_that_is_off_or_a_file_that_is_gone_ends_with_three():
    job = make_job()
    job.service.active = False
    job.service.save()
    with pytest.raises(CommandError, match="switched off") as refused:
        process(job)
    assert refused.value.returncode == 3
    gone = make_job()
    gone.file.storage.delete(gone.file.name)
    with pytest.raises(CommandError, match="its file is gone") as refused:
        process(gone)
    assert refused.value.returncode == 3


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "12", "not-an-id", "018f3c1e-0000-7000-8000-000000000000"])
def test_process_missing_rows_of_no_job_ends_with_two(text):
    with pytest.raises(CommandError) as refused:
        process(text)
    assert refused.value.returncode == 2
