"""The stored schedule: seeded after migrate, and merged with what operators edited."""

import os
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import call_command, execute_from_command_line
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from notify import schedule
from notify.models import SeededSchedule

NAMES = [row.task for row in schedule.ROWS]
FIRST = schedule.ROWS[0]
CHANGED = (replace(FIRST, minute="*/7", expires=400), *schedule.ROWS[1:])  # a better default of a later release


def task(name: str = FIRST.task) -> PeriodicTask:
    return PeriodicTask.objects.select_related("crontab").get(name=name)


def edit(**fields: str) -> CrontabSchedule:
    """Edit the first task's crontab as an operator does in the admin."""
    tab = task().crontab
    for name, value in fields.items():
        setattr(tab, name, value)
    tab.save()
    return tab


def test_every_row_is_there_after_migrate(db):
    stored = {found.name: found for found in PeriodicTask.objects.select_related("crontab")}
    assert set(stored) == set(NAMES)
    for row in schedule.ROWS:
        found = stored[row.task]
        assert (schedule.describe(found), str(found.crontab.timezone)) == (row.crontab, "Europe/London")
        assert (found.task, found.enabled, found.expire_seconds) == (row.task, True, row.expires)
        assert (found.queue, found.description) == (None, row.why)  # the route decides on the queue


def test_every_task_has_a_crontab_of_its_own(db):
    assert len(set(PeriodicTask.objects.values_list("crontab", flat=True))) == len(NAMES)
    assert CrontabSchedule.objects.count() == len(NAMES)


@pytest.mark.django_db(transaction=True)
def test_the_rows_come_back_after_a_flush():
    call_command("flush", interactive=False, verbosity=0)
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == set(NAMES)
    assert SeededSchedule.objects.count() == len(NAMES)


def test_a_second_sync_writes_nothing_so_beat_does_not_reload(db):
    before = PeriodicTasks.last_change()
    with CaptureQueriesContext(connection) as queries:
        assert not any(schedule.sync_schedule().values())
    assert not [found["sql"] for found in queries if not found["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE"))]
    assert PeriodicTasks.last_change() == before


def test_beat_is_told_of_a_change(db):
    before = PeriodicTasks.last_change()
    schedule.sync_schedule(rows=CHANGED)
    assert PeriodicTasks.last_change() > before


def test_a_row_that_somebody_deleted_is_made_again(db):
    task().delete()
    assert schedule.sync_schedule()[FIRST.task] == "made"
    assert schedule.describe(task()) == FIRST.crontab


def test_where_the_tables_do_not_exist_yet_nothing_is_asked(db, django_assert_num_queries):
    class Nothing:
        def get_model(self, app_label, name):
            raise LookupError(app_label)

    with django_assert_num_queries(0):
        schedule.seed_after_migrate(apps=Nothing())


def test_migrating_contenttypes_on_an_empty_database_does_not_crash(transactional_db):
    connection.ensure_connection()
    info, name = connection.connection.info, f"test_empty_{os.getpid()}"
    where = f":{info.port}/{info.host}" if info.host.startswith("/") else f"{info.host}:{info.port}"  # a socket, or TCP
    url = f"postgres://{info.user}:{quote(info.password or '', safe='')}@{where}/{name}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            command = [sys.executable, "-W", "error", "manage.py", "migrate", "contenttypes"]
            environment = os.environ | {"DATABASE_URL": url, "NOTIFY_VAR_DIR": str(settings.VAR_DIR)}
            ended = subprocess.run(
                command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "contenttypes.0002" in ended.stdout


# --- Edits and changed defaults ---------------------------------------------------------------------------------------


def test_an_edited_crontab_survives_sync_and_migrate(db):
    edit(minute="13", hour="4")
    assert schedule.sync_schedule()[FIRST.task] == f"edited, kept; default is {FIRST.crontab}"
    call_command("migrate", verbosity=0)
    assert schedule.describe(task()) == "13 4 * * *"


def test_a_switch_survives_sync_and_migrate_and_is_no_edit(db):
    stored = task()
    stored.enabled = False
    stored.save()
    assert schedule.sync_schedule()[FIRST.task] == ""
    call_command("migrate", verbosity=0)
    assert not task().enabled
    schedule.sync_schedule(rows=CHANGED)  # a better default arrives, and the switch stays
    assert (schedule.describe(task()), task().enabled) == ("*/7 * * * *", False)


@pytest.mark.parametrize(
    "change",
    [
        lambda: edit(minute="13"),
        lambda: edit(timezone="UTC"),
        lambda: edit(day_of_month="1"),
        lambda: PeriodicTask.objects.filter(name=FIRST.task).update(expire_seconds=FIRST.expires + 1),
    ],
    ids=["minute", "zone", "day of month", "expiry"],
)
def test_each_kind_of_edit_is_kept_when_the_default_changes(db, change):
    change()
    before = (schedule.describe(task()), str(task().crontab.timezone), task().expire_seconds)
    assert schedule.sync_schedule(rows=CHANGED)[FIRST.task] == "edited, kept; default is */7 * * * *"
    assert (schedule.describe(task()), str(task().crontab.timezone), task().expire_seconds) == before


def test_an_untouched_row_follows_a_changed_default_and_keeps_its_place(db):
    before = task()
    done = schedule.sync_schedule(rows=CHANGED)
    after = task()
    assert done[FIRST.task] == "follows the new default */7 * * * *"
    assert [what for name, what in done.items() if name != FIRST.task and what] == []
    assert (after.pk, after.crontab_id) == (before.pk, before.crontab_id)
    assert (schedule.describe(after), after.expire_seconds) == ("*/7 * * * *", 400)
    assert schedule.sync_schedule(rows=CHANGED)[FIRST.task] == ""


def test_an_edit_that_equals_the_new_default_follows_the_one_after(db):
    edit(minute="*/7")
    PeriodicTask.objects.filter(name=FIRST.task).update(expire_seconds=400)
    assert schedule.sync_schedule(rows=CHANGED)[FIRST.task] == ""
    assert schedule.sync_schedule()[FIRST.task].startswith("follows the new default")


def test_a_row_whose_task_left_the_code_is_switched_off_and_reported_once(db):
    done = schedule.sync_schedule(rows=schedule.ROWS[1:])
    assert done[FIRST.task] == "switched off: its task is no longer in the code"
    assert not task().enabled
    assert FIRST.task not in schedule.sync_schedule(rows=schedule.ROWS[1:])


def test_a_gone_task_whose_row_was_deleted_is_no_trouble(db):
    task().delete()
    assert FIRST.task not in schedule.sync_schedule(rows=schedule.ROWS[1:])


def test_rows_that_operators_made_themselves_are_left_alone(db):
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    PeriodicTask.objects.create(name="ours", task="notify.something_else", interval=every)
    schedule.sync_schedule()
    assert PeriodicTask.objects.get(name="ours").enabled


def test_two_rows_that_share_a_crontab_do_not_change_each_other(db):
    """An operator may point two tasks at one crontab; going back to a default must not drag the other along."""
    second = NAMES[1]
    shared = edit(minute="13")
    PeriodicTask.objects.filter(name=second).update(crontab=shared)
    schedule.sync_schedule(reset=FIRST.task)
    assert schedule.describe(task()) == FIRST.crontab
    assert schedule.describe(task(second)) == "13 * * * *"


# --- Reset and the command --------------------------------------------------------------------------------------------


def test_reset_goes_back_to_the_default_and_follows_it_again(db):
    edit(minute="13", day_of_month="1", timezone="UTC")
    assert schedule.sync_schedule(reset=FIRST.task)[FIRST.task] == "reset to the default"
    assert (schedule.describe(task()), str(task().crontab.timezone)) == (FIRST.crontab, "Europe/London")
    assert schedule.sync_schedule(rows=CHANGED)[FIRST.task].startswith("follows")


def test_reset_of_one_leaves_the_edits_of_others(db):
    edit(minute="13")
    schedule.sync_schedule(reset=NAMES[1])
    assert schedule.describe(task()) == "13 * * * *"


def test_reset_turns_an_interval_back_into_a_crontab(db):
    stored = task()
    stored.crontab, stored.interval = None, IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    stored.save()
    assert schedule.describe(stored) == ""
    assert schedule.sync_schedule()[FIRST.task].startswith("edited, kept")
    schedule.sync_schedule(reset=FIRST.task)
    assert (schedule.describe(task()), task().interval) == (FIRST.crontab, None)


def test_the_command_says_what_it_did(db, capsys):
    edit(minute="13")
    call_command("sync_schedule")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{FIRST.task}: edited, kept; default is {FIRST.crontab}"
    assert len(lines) == len(NAMES)
    assert lines[1] == f"{NAMES[1]}: as the default"
    call_command("sync_schedule", reset=FIRST.task)
    assert f"{FIRST.task}: reset to the default" in capsys.readouterr().out


def test_the_command_ends_with_2_on_an_unknown_name(capsys):
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", "sync_schedule", "--reset", "jobs.no_such_task"])
    assert ended.value.code == 2
    assert "No default schedule for jobs.no_such_task" in capsys.readouterr().err


def test_an_unknown_name_writes_nothing(db):
    edit(minute="13")
    with pytest.raises(CommandError, match=FIRST.task):
        call_command("sync_schedule", reset="jobs.no_such_task")
    assert schedule.describe(task()) == "13 * * * *"


def test_the_admin_is_told_which_default_an_edit_replaced(db):
    assert schedule.edited_default(task()) == ""
    edit(minute="13")
    assert schedule.edited_default(task()) == FIRST.crontab
    assert schedule.edited_default(PeriodicTask(name="ours")) == ""
