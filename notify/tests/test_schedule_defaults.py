"""The default schedules themselves, and the real scheduler over the days on which the clocks change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from celery.schedules import crontab_parser
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

from notify import schedule
from notify.celery import app

NAMES = [row.task for row in schedule.ROWS]
DAILY = schedule.Row("test.daily", schedule.LOOP, 3_600, "a test", minute="50", hour="17")


def test_every_row_names_a_registered_task_once():
    app.autodiscover_tasks(force=True)
    assert [name for name in NAMES if name not in app.tasks] == []
    assert len(set(NAMES)) == len(NAMES)
    assert {row.kind for row in schedule.ROWS} <= {schedule.WATCHDOG, schedule.LOOP}


@pytest.mark.parametrize("row", schedule.ROWS, ids=NAMES)
def test_an_unread_message_expires_before_the_next_one_is_sent(row):
    minutes = crontab_parser(60).parse(row.minute)
    times = sorted(hour * 60 + minute for hour in crontab_parser(24).parse(row.hour) for minute in minutes)
    period = min(after - before for before, after in zip(times, [*times[1:], times[0] + 24 * 60], strict=True))
    assert 0 < row.expires < period * 60


@pytest.mark.parametrize("row", schedule.ROWS, ids=NAMES)
def test_no_default_lies_in_the_hour_that_the_clocks_skip(row):
    assert row.hour == "*" or 1 not in crontab_parser(24).parse(row.hour)


def test_watchdogs_have_a_queue_of_their_own_and_every_task_a_declared_one():
    app.autodiscover_tasks(force=True)
    kinds = {row.task: row.kind for row in schedule.ROWS}
    for name in app.tasks:
        if name.split(".")[0] in ("jobs", "letters", "providers", "callbacks", "notify"):
            queue = app.amqp.router.route({}, name)["queue"].name
            assert queue in schedule.QUEUES
            assert (queue == "watchdogs") == (kinds.get(name) == schedule.WATCHDOG), name


class Recording(DatabaseScheduler):
    """The real scheduler; what it would publish is written down instead."""

    producer = None

    def apply_async(self, entry, producer=None, advance=True, **kwargs):
        self.fired.append((entry.name, datetime.now(UTC)))


@pytest.mark.parametrize(
    ("start", "fires_at"),
    [
        ("2026-10-24T16:30", ["2026-10-24T16:50", "2026-10-25T17:50"]),
        ("2027-03-27T17:30", ["2027-03-27T17:50", "2027-03-28T16:50"]),
    ],
    ids=["autumn 2026", "spring 2027"],
)
def test_a_daily_row_fires_once_each_day_across_the_clock_change(transactional_db, start, fires_at):
    """Outside a test's transaction: the scheduler closes a connection that is inside one."""
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    PeriodicTask.objects.all().delete()
    with time_machine.travel(moment, tick=False) as clock:
        schedule.sync_schedule(rows=(DAILY, replace(DAILY, task="test.night", minute="30", hour="0")))
        scheduler = Recording(app=app)
        scheduler.fired = []
        for _ in range(26 * 12):
            clock.shift(timedelta(minutes=5))
            for _ in range(10):
                if scheduler.tick() > 0:
                    break
        scheduler._finalize.cancel()  # otherwise it writes to the database once more at exit
    fired = [when.strftime("%Y-%m-%dT%H:%M") for name, when in scheduler.fired if name == DAILY.task]
    assert fired == fires_at
    assert len([name for name, _ in scheduler.fired if name == "test.night"]) == 1
