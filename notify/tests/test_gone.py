"""What is left out on purpose stays out."""

from pathlib import Path

import pytest
from django.conf import settings

from notify.celery import app

PERIODIC_LETTER_TASKS = {
    "letters.render_letter_pdfs",
    "letters.scan_letters",
    "letters.check_precompiled_letter_state",
    "letters.check_templated_letter_state",
    "letters.collate_letter_pdfs_for_day",
    "letters.raise_alert_if_letter_notifications_still_sending",
    "letters.check_print_files_acknowledged",
}


@pytest.fixture(scope="module")
def task_names():
    app.autodiscover_tasks(force=True)
    return {name for name in app.tasks if not name.startswith("celery.")}


def test_tasks_are_registered_at_all(task_names):
    assert {"jobs.process_job", "callbacks.deliver_due_callbacks"} <= task_names


@pytest.mark.parametrize(
    "gone",
    [
        "record_initial_job_statistics",
        "record_outcome_job_statistics",
        "timeout_job_statistics",
        "trigger_letter_pdfs_for_day",
    ],
)
def test_a_task_that_was_left_out_is_not_registered(task_names, gone):
    assert [name for name in task_names if gone in name] == []


def test_letters_leave_by_the_print_run_only(task_names):
    """No task sends the letters of one job: each letter task is one of the periodic ones."""
    assert {name for name in task_names if "letter" in name} <= PERIODIC_LETTER_TASKS


def test_the_schedule_lives_in_the_database_only():
    assert not hasattr(settings, "CELERY_BEAT_SCHEDULE")
    assert app.conf.beat_schedule == {}
    assert settings.CELERY_BEAT_SCHEDULER == "django_celery_beat.schedulers:DatabaseScheduler"


def test_no_statistics_are_counted_along():
    names = [path.stem for app_name in ("jobs", "notify") for path in Path(settings.BASE_DIR, app_name).rglob("*.py")]
    assert [name for name in names if "statistics" in name] == []
