"""Default schedules of the periodic tasks, and their seeding into django-celery-beat.

The schedule belongs to the operators: it is edited in the admin and an edit survives every restart and release. This
file holds only the defaults. Adding a task: a `Row` here, and a line in README's watchdog table (a test compares).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps as installed
from django.conf import settings
from django.db import transaction

logger = logging.getLogger(__name__)

WATCHDOG, LOOP = "watchdog", "loop"
QUEUES = ("watchdogs", "jobs", "sending", "receipts", "letters", "callbacks", "housekeeping")
_APP_QUEUES = {
    "jobs.*": "jobs",
    "providers.apply_receipts": "receipts",
    "providers.*": "sending",
    "letters.*": "letters",
    "callbacks.*": "callbacks",
    "notify.*": "housekeeping",
}


@dataclass(frozen=True)
class Row:
    """One periodic duty: its task, kind, default crontab (local time) and why it exists.

    expires: seconds after which an unread message is dropped; below the period, so that no backlog piles up.
    """

    task: str
    kind: str
    expires: int
    why: str
    due: str = ""  # of a loop: the function that says what it would work through
    minute: str = "*"
    hour: str = "*"
    day_of_week: str = "*"

    @property
    def crontab(self) -> str:
        """Minute, hour, day of month, month and day of week, as written in a crontab."""
        return f"{self.minute} {self.hour} * * {self.day_of_week}"


ROWS = (
    Row("jobs.run_scheduled_jobs", WATCHDOG, 50, "a scheduled job is due, or a pending job's wake-up was lost"),
    Row("jobs.check_job_status", WATCHDOG, 50, "a job stopped part-way, or its worker died"),
    Row(
        "jobs.check_for_missing_rows_in_completed_jobs", WATCHDOG, 540, "a finished job is short of notifications",
        minute="*/10",
    ),
    Row("jobs.mark_jobs_complete", WATCHDOG, 50, "a finished job has all its notifications and was not counted"),
    Row(
        "jobs.remove_csv_files", LOOP, 3_600, "a job's file is past its retention", "jobs.files.due",
        minute="30", hour="2",
    ),
    Row("providers.send_due_notifications", LOOP, 50, "messages wait to be sent", "providers.sending.due"),
    Row("providers.switch_current_sms_provider_on_slow_delivery", WATCHDOG, 50, "an SMS provider is slow"),
    Row(
        "providers.tend_providers_back_to_middle", WATCHDOG, 240, "shares were moved away from where they rest",
        minute="*/5",
    ),
    Row("providers.replay_created_notifications", WATCHDOG, 840, "messages wait for over an hour", minute="*/15"),
    Row(
        "providers.timeout_notifications", WATCHDOG, 3_600, "a message never got a final status",
        minute="5", hour="0",
    ),
    Row("providers.apply_receipts", LOOP, 50, "receipts wait to be applied", "providers.receipts.due"),
    Row("callbacks.deliver_due_callbacks", LOOP, 50, "callbacks wait to be delivered", "callbacks.delivery.due"),
    Row("letters.render_letter_pdfs", LOOP, 50, "letters wait for their PDF", "letters.rendering.due"),
    Row("letters.scan_letters", LOOP, 50, "precompiled letters wait for their virus check", "letters.scanning.due"),
    Row(
        "letters.check_precompiled_letter_state", WATCHDOG, 3_600, "a letter waits too long for its virus check",
        minute="0", hour="9,15", day_of_week="mon-fri",
    ),
    Row(
        "letters.check_templated_letter_state", WATCHDOG, 3_600, "letters were not printed, or failed unseen",
        minute="0", hour="9",
    ),
    Row(
        "letters.collate_letter_pdfs_for_day", LOOP, 240, "the day's letters are to be handed over",
        "letters.print_run.due", minute="*/5",
    ),
    Row(
        "letters.raise_alert_if_letter_notifications_still_sending", WATCHDOG, 3_600,
        "nobody reported what became of letters", minute="30", hour="16",
    ),
    Row(
        "letters.check_print_files_acknowledged", WATCHDOG, 3_600, "the postal provider has not said that it got zips",
        minute="0", hour="23",
    ),
    Row(
        "notify.delete_notifications_older_than_retention", LOOP, 3_600, "messages are past their retention",
        "notify.deletion.due", minute="0", hour="3",
    ),
    Row(
        "notify.send_daily_performance_platform_stats", LOOP, 3_600, "yesterday's messages are not counted yet",
        "notify.totals.due", minute="0", hour="2",
    ),
    Row("notify.send_alerts", LOOP, 50, "alerts are open and nobody was told yet", "notify.telling.due"),
)  # fmt: skip


def routes() -> dict[str, dict[str, str]]:
    """Return the queue of each task: watchdogs have their own, so that a flood of sends cannot delay them."""
    watchdogs = {row.task: {"queue": "watchdogs"} for row in ROWS if row.kind == WATCHDOG}
    return watchdogs | {pattern: {"queue": queue} for pattern, queue in _APP_QUEUES.items()}


def seed_after_migrate(apps: Any = installed, **kwargs: Any) -> None:
    """Seed after `migrate` and `flush` (which names no apps); where the tables do not exist yet, do nothing."""
    try:
        apps.get_model("django_celery_beat", "PeriodicTask")
        apps.get_model("notify", "SeededSchedule")
    except LookupError:
        return
    sync_schedule()


def sync_schedule(*, reset: str | None = None, rows: tuple[Row, ...] = ROWS) -> dict[str, str]:
    """Bring the stored schedule up to the defaults without touching what an operator edited.

    * a new row is made, with a crontab of its own;
    * a row still as it was seeded follows a changed default;
    * an edited row is kept and reported; `enabled` is never touched after creation;
    * a row whose task left the code is switched off and reported.

    reset: name of a task that goes back to its default. Returns what was done, by task name; nothing is written
    where nothing changed, so beat does not reload.
    """
    done: dict[str, str] = {}
    with transaction.atomic():
        seeded = {row.task: row for row in _model("notify", "SeededSchedule").objects.select_for_update()}
        stored = {task.name: task for task in _periodic_tasks()}
        for row in rows:
            done[row.task] = _sync_row(row, stored.get(row.task), seeded.get(row.task), reset=reset == row.task)
        known = {row.task for row in rows}
        for name in seeded.keys() - known:
            task = stored.get(name)
            if task is not None and task.enabled:
                task.enabled = False
                task.save()  # never queryset.update(): beat would not notice
                done[name] = "switched off: its task is no longer in the code"
    for name, what in done.items():
        if what:
            logger.info("Schedule of %s: %s", name, what, extra={"task": name})
    return done


def describe(task: Any) -> str:
    """Return a stored task's crontab in the form of `Row.crontab`, or "" when it has none."""
    tab = task.crontab
    if tab is None:
        return ""
    return f"{tab.minute} {tab.hour} {tab.day_of_month} {tab.month_of_year} {tab.day_of_week}"


def edited_default(task: Any) -> str:
    """Return the default an operator's edit replaced, or "" when the row follows it (or is not one of ours)."""
    row = next((row for row in ROWS if row.task == task.name), None)
    if row is None or (describe(task), task.expire_seconds) == (row.crontab, row.expires):
        return ""
    return row.crontab


def _sync_row(row: Row, task: Any, seeded: Any, *, reset: bool) -> str:
    wanted = {"crontab": row.crontab, "timezone": settings.NOTIFY_TIME_ZONE, "expire_seconds": row.expires}
    if task is None:
        _create(row)
        _remember(row.task, wanted)
        return "made"
    if _current(task) == wanted:
        if seeded is None or _as_seeded(seeded) != wanted:
            _remember(row.task, wanted)
        return ""
    follows = seeded is not None and _current(task) == _as_seeded(seeded)
    if not (follows or reset):
        return f"edited, kept; default is {row.crontab}"
    if task.crontab and task.crontab.periodictask_set.count() == 1:
        _write_crontab(task.crontab, row)
    else:
        _attach(task, row)
    task.expire_seconds = row.expires
    task.save()
    _remember(row.task, wanted)
    return "reset to the default" if reset else f"follows the new default {row.crontab}"


def _periodic_tasks() -> Any:
    return _model("django_celery_beat", "PeriodicTask").objects.select_related("crontab")


def _model(app: str, name: str) -> Any:
    return installed.get_model(app, name)


def _current(task: Any) -> dict[str, Any]:
    zone = str(task.crontab.timezone) if task.crontab else ""
    return {"crontab": describe(task), "timezone": zone, "expire_seconds": task.expire_seconds}


def _as_seeded(seeded: Any) -> dict[str, Any]:
    return {"crontab": seeded.crontab, "timezone": seeded.timezone, "expire_seconds": seeded.expire_seconds}


def _remember(task: str, wanted: Mapping[str, Any]) -> None:
    _model("notify", "SeededSchedule").objects.update_or_create(task=task, defaults=wanted)


def _write_crontab(tab: Any, row: Row) -> None:
    tab.minute, tab.hour, tab.day_of_week = row.minute, row.hour, row.day_of_week
    tab.day_of_month = tab.month_of_year = "*"
    tab.timezone = settings.NOTIFY_TIME_ZONE
    tab.save()


def _attach(task: Any, row: Row) -> None:
    """Give a task a crontab of its own: a shared one would change every task at the admin's pencil."""
    tab = _model("django_celery_beat", "CrontabSchedule")()
    _write_crontab(tab, row)
    task.crontab, task.interval, task.solar, task.clocked, task.one_off = tab, None, None, None, False


def _create(row: Row) -> None:
    task = _model("django_celery_beat", "PeriodicTask")(name=row.task, task=row.task, description=row.why)
    task.expire_seconds = row.expires
    _attach(task, row)
    task.save()
