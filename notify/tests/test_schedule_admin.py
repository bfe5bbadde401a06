"""The schedule's admin pages, and that an edit made there survives."""

import json
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

from notify.schedule import describe, sync_schedule
from notify.schedule_forms import in_words, next_runs

pytestmark = pytest.mark.django_db
LIST = "/admin/django_celery_beat/periodictask/"
NAME = "jobs.run_scheduled_jobs"
LONDON = ZoneInfo("Europe/London")


def tab(
    minute: str = "*", hour: str = "*", day: str = "*", month: str = "*", week: str = "*", **fields
) -> CrontabSchedule:
    """Make a crontab in London time."""
    return CrontabSchedule(
        minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=week,
        **({"timezone": LONDON} | fields),
    )  # fmt: skip


def page(name: str = NAME) -> str:
    """Where a task's page is."""
    return reverse("admin:django_celery_beat_periodictask_change", args=[PeriodicTask.objects.get(name=name).pk])


def form(**fields: str) -> dict[str, str]:
    """Fill in the form of a task."""
    return {
        "enabled": "on", "description": "why", "minute": "*", "hour": "*", "day_of_month": "*", "month_of_year": "*",
        "day_of_week": "*", "timezone": "Europe/London", "expire_seconds": "50", "args": "[]", "kwargs": "{}",
    } | fields  # fmt: skip


def runs(crontab: CrontabSchedule, now: datetime, count: int = 5) -> list[str]:
    """Write the next runs in UTC."""
    return [f"{moment:%Y-%m-%d %H:%M}" for moment in islice(next_runs(crontab, now=now), count)]


def test_an_edit_is_kept_by_the_next_sync_and_shown_with_its_default(admin_client):
    changed = PeriodicTasks.last_change()
    answer = admin_client.post(page(), form(minute="*/7", enabled=""))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert PeriodicTasks.last_change() > changed  # beat notices
    sync_schedule()
    task = PeriodicTask.objects.get(name=NAME)
    assert (describe(task), task.enabled) == ("*/7 * * * *", False)
    shown = admin_client.get(LIST).content.decode()
    assert "edited; default is * * * * *" in shown
    assert "Every 7 minutes" in shown


def test_an_edit_reaches_its_own_task_only(admin_client):
    before = {task.name: describe(task) for task in PeriodicTask.objects.exclude(name=NAME)}
    shared = PeriodicTask.objects.exclude(name=NAME).first()
    PeriodicTask.objects.filter(name=NAME).update(crontab=shared.crontab)
    admin_client.post(page(), form(minute="*/7"))
    assert {task.name: describe(task) for task in PeriodicTask.objects.exclude(name=NAME)} == before
    assert describe(PeriodicTask.objects.get(name=NAME)) == "*/7 * * * *"


def test_the_default_can_be_brought_back(admin_client):
    admin_client.post(page(), form(minute="*/7"))
    action = {"action": "back_to_default", "_selected_action": [str(PeriodicTask.objects.get(name=NAME).pk)]}
    assert NAME in admin_client.post(LIST, action, follow=True).content.decode()
    assert describe(PeriodicTask.objects.get(name=NAME)) == "* * * * *"


@pytest.mark.parametrize(
    "fields",
    [{"minute": "60"}, {"minute": "*/0"}, {"day_of_month": "31", "month_of_year": "2"}, {"timezone": "Mars/Olympus"},
     {"minute": ""}, {"args": "[broken"}, {"args": "{}"}, {"kwargs": "[]"}],
)  # fmt: skip
def test_what_cannot_run_is_refused_and_nothing_is_changed(admin_client, fields):
    answer = admin_client.post(page(), form(description="other") | fields)
    assert answer.status_code == 200
    assert answer.context["errors"]
    task = PeriodicTask.objects.get(name=NAME)
    assert (describe(task), task.args) == ("* * * * *", "[]")
    assert task.description != "other"


def test_a_day_that_never_comes_is_refused_with_its_code(admin_client):
    answer = admin_client.post(page(), form(day_of_month="31", month_of_year="2"))
    assert "SCHEDULE_INVALID" in answer.content.decode()


@pytest.mark.parametrize("task", ["celery.backend_cleanup", "jobs.process_job", "os.system", ""])
def test_only_the_platforms_periodic_duties_can_be_scheduled(admin_client, task):
    answer = admin_client.post(f"{LIST}add/", form(name="mine", task=task))
    assert answer.status_code == 200
    assert not PeriodicTask.objects.filter(name="mine").exists()
    if task:
        assert "TASK_NOT_ALLOWED" in answer.content.decode()


def test_a_row_of_ones_own_gets_its_own_crontab_and_can_be_deleted(admin_client):
    answer = admin_client.post(f"{LIST}add/", form(name="mine", task=NAME, minute="5", hour="6"))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    mine = PeriodicTask.objects.get(name="mine")
    assert (mine.task, describe(mine)) == (NAME, "5 6 * * *")
    assert "added here" in admin_client.get(LIST).content.decode()
    admin_client.post(reverse("admin:django_celery_beat_periodictask_delete", args=[mine.pk]), {"post": "yes"})
    assert not PeriodicTask.objects.filter(name="mine").exists()


def test_a_duty_of_the_platform_and_its_crontab_cannot_be_deleted(admin_client):
    task = PeriodicTask.objects.get(name=NAME)
    for view, key in (("periodictask", task.pk), ("crontabschedule", task.crontab_id)):
        address = reverse(f"admin:django_celery_beat_{view}_delete", args=[key])
        assert admin_client.post(address, {"post": "yes"}).status_code == 403
    assert PeriodicTask.objects.filter(name=NAME).exists()


def test_a_row_whose_task_left_the_code_cannot_be_switched_on(admin_client):
    old = tab()
    old.save()
    row = PeriodicTask.objects.create(name="gone", task="gone.task", crontab=old, enabled=False)
    for action in ("enable_tasks", "disable_tasks"):
        admin_client.post(LIST, {"action": action, "_selected_action": [str(row.pk)]})
    assert "TASK_NOT_ALLOWED" in admin_client.post(page("gone"), form(name="gone", task="gone.task")).content.decode()
    row.refresh_from_db()
    assert not row.enabled


def test_switching_off_and_on_by_action_reaches_beat(admin_client):
    key = str(PeriodicTask.objects.get(name=NAME).pk)
    for action, enabled in (("disable_tasks", False), ("enable_tasks", True)):
        changed = PeriodicTasks.last_change()
        admin_client.post(LIST, {"action": action, "_selected_action": [key]})
        assert PeriodicTask.objects.get(name=NAME).enabled is enabled
        assert PeriodicTasks.last_change() > changed


@pytest.mark.time_machine(datetime(2026, 7, 1, 8, 30, 30, tzinfo=UTC), tick=False)
def test_the_page_shows_the_next_five_runs_in_local_time(admin_client):
    PeriodicTask.objects.filter(name=NAME).update(last_run_at=datetime(2026, 7, 1, 8, 29, tzinfo=UTC))
    shown = admin_client.get(page()).content.decode()
    for minute in (31, 32, 33, 34, 35):
        assert f"1 Jul 2026, 09:{minute} BST" in shown
    assert "1 Jul 2026, 09:36" not in shown
    assert "1 Jul 2026, 09:29 BST" in admin_client.get(LIST).content.decode()


def test_the_next_run_is_after_now_not_at_it():
    now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    assert runs(tab("0", "9"), now, 2) == ["2026-11-25 09:00", "2026-11-26 09:00"]


def test_runs_follow_local_clocks_over_both_changes():
    assert runs(tab("30", "9"), datetime(2026, 3, 28, tzinfo=UTC), 3) == [
        "2026-03-28 09:30", "2026-03-29 08:30", "2026-03-30 08:30",
    ]  # fmt: skip
    assert runs(tab("30", "9"), datetime(2026, 10, 24, tzinfo=UTC), 2) == ["2026-10-24 08:30", "2026-10-25 09:30"]


def test_days_of_month_and_week_must_both_match():
    assert runs(tab("0", "0", day="13", week="5"), datetime(2026, 1, 1, tzinfo=UTC), 2) == [
        "2026-02-13 00:00", "2026-03-13 00:00",
    ]  # fmt: skip
    assert runs(tab("0", "9", week="0"), datetime(2026, 11, 24, tzinfo=UTC), 1) == ["2026-11-29 09:00"]


def test_a_leap_day_is_found_however_far_away_it_is():
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert runs(tab("0", "0", day="29", month="2"), now, 1) == ["2028-02-29 00:00"]
    assert runs(tab("0", "0", day="29", month="2", week="1"), now, 1) == ["2044-02-29 00:00"]


def test_a_stored_date_that_never_comes_is_said_on_the_page(admin_client):
    CrontabSchedule.objects.update(day_of_month="31", month_of_year="2")
    assert "never occurs" in admin_client.get(page()).content.decode()


def test_a_crontab_in_words_names_its_zone_only_where_it_is_another():
    assert in_words(tab("30", "2")) == "At 02:30"
    assert in_words(tab("30", "2", timezone=ZoneInfo("UTC"))) == "At 02:30 (UTC)"


def test_the_list_takes_the_same_queries_however_many_rows(admin_client, django_assert_max_num_queries):
    for number in range(20):
        own = tab(minute=str(number))
        own.save()
        PeriodicTask.objects.create(name=f"mine {number}", task=NAME, crontab=own, args=json.dumps([]))
    with django_assert_max_num_queries(8):
        assert admin_client.get(LIST).status_code == 200
