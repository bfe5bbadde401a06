"""Counting works for a while at a time and goes on at its next turn, whatever is stopped or killed in between."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from notify import tasks, totals
from notify.models import DailyTotal, Notification
from notify.testing import make_notification, make_template

NOW = datetime(2026, 10, 28, 2, 0, tzinfo=UTC)
TODAY = date(2026, 10, 28)
AGES = (30, 20, 2)  # of the days with messages; yesterday has none and is counted all the same
pytestmark = pytest.mark.django_db


def ago(days):
    return TODAY - timedelta(days=days)


def stored():
    return {(TODAY - total.day).days: total.counts for total in DailyTotal.objects.all()}


@pytest.fixture
def months(settings):
    """Messages of months of which nothing was counted yet, one more for each day; no time but for one day a turn."""
    settings.LOOP_FOR = timedelta(0)
    template = make_template()
    for number, age in enumerate(AGES, start=1):
        for _ in range(number):
            make_notification(template=template, created_at=NOW - timedelta(days=age), status="sent")
    return {age: {"sent": number} for number, age in enumerate(AGES, start=1)}


@pytest.fixture
def turns(monkeypatch, django_capture_on_commit_callbacks):
    """Run the task, and each message it leaves behind, to the end. Returns what each turn said, by its argument."""
    task = tasks.send_daily_performance_platform_stats

    def run():
        said, messages = {}, [None]
        monkeypatch.setattr(task, "apply_async", lambda args, *rest, **options: messages.append(args[0]))
        while messages:
            after = messages.pop()
            with django_capture_on_commit_callbacks(execute=True):
                said[after] = task(after)
        return said

    return run


@pytest.mark.time_machine(NOW, tick=False)
def test_when_time_is_up_it_stops_between_days_and_goes_on_until_all_is_counted_once(months, turns):
    counted = Counter()
    with connection.execute_wrapper(lambda execute, sql, values, *rest: (
        counted.update([values["day"]] if "INSERT INTO notify_dailytotal" in sql else []),
        execute(sql, values, *rest),
    )[1]):  # fmt: skip
        said = turns()
    assert list(said) == [None, *(str(ago(age)) for age in AGES)]
    assert [turn.get("pushed") for turn in said.values()] == [None, None, None, 0]  # pushed when all is counted
    assert counted == {ago(age): 1 for age in (*AGES, 1)}
    assert stored() == months


@pytest.mark.time_machine(NOW, tick=False)
def test_with_time_enough_one_turn_counts_all(months, turns, settings):
    settings.LOOP_FOR = timedelta(seconds=50)
    assert turns() == {None: {"found": 4, "repaired": 3, "pushed": 0}}
    assert stored() == months


@pytest.mark.time_machine(NOW, tick=False)
def test_days_that_stay_unsettled_do_not_make_it_go_round_in_circles(months, turns):
    Notification.objects.update(status="sending")
    assert [len(turns()), len(turns())] == [4, 4]
    assert stored() == {age: {"sending": counts["sent"]} for age, counts in months.items()}


def test_a_turn_goes_on_after_the_last_day_of_the_turn_before_and_not_with_it(months):
    done = {"found": 1, "repaired": 1}
    assert totals.store_due(now=NOW, after=ago(21)) == (done, ago(20))
    assert totals.store_due(now=NOW, after=ago(20)) == (done, ago(2))
    assert totals.store_due(now=NOW, after=ago(2)) == ({"found": 1, "repaired": 0}, None)
    assert totals.store_due(now=NOW, after=ago(1)) == ({"found": 0, "repaired": 0}, None)
    assert set(stored()) == {20, 2}


def test_cut_off_in_a_day_the_days_before_stay_counted_and_the_same_message_does_the_rest(months, settings):
    settings.LOOP_FOR = timedelta(seconds=50)

    class Cut(Exception):
        """Stands for the end of the process."""

    def cut(execute, sql, values, *rest):
        if "INSERT INTO notify_dailytotal" in sql and values["day"] == ago(2):
            execute(sql, values, *rest)
            raise Cut
        return execute(sql, values, *rest)

    with pytest.raises(Cut), connection.execute_wrapper(cut):
        totals.store_due(now=NOW)
    assert stored() == {age: months[age] for age in (30, 20)}
    assert totals.store_due(now=NOW)[1] is None
    assert stored() == months


def test_told_to_shut_down_it_stops_between_days_and_says_where(months, settings, monkeypatch):
    settings.LOOP_FOR = timedelta(seconds=50)
    monkeypatch.setattr(totals, "stopping", lambda: DailyTotal.objects.count() == 2)
    assert totals.store_due(now=NOW) == ({"found": 2, "repaired": 2}, ago(20))
    assert stored() == {age: months[age] for age in (30, 20)}
