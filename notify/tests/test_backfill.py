"""Past days counted again by hand."""

import threading
from datetime import date, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from notify.clock import local_date, local_day
from notify.management.commands.backfill_performance_platform_totals import LOCK
from notify.models import DailyTotal
from notify.testing import make_notification

COMMAND = "backfill_performance_platform_totals"
pytestmark = pytest.mark.django_db


def back(days):
    return local_date(timezone.now()) - timedelta(days=days)


def call(name, *args):
    out = StringIO()
    call_command(name, *map(str, args), stdout=out)
    return out.getvalue()


def sent(day):
    moment = local_day(day)[0]
    return make_notification(created_at=moment, sent_at=moment, status="sent")


def test_both_ends_are_included_and_a_second_run_changes_nothing():
    for age in (1, 2, 3, 4):
        sent(back(age))
    assert "nothing → sent 1" in call(COMMAND, back(3), back(2))
    assert set(DailyTotal.objects.values_list("day", flat=True)) == {back(3), back(2)}
    assert call(COMMAND, back(3), back(2)).count("unchanged, sent 1") == 2


def test_what_retention_may_have_touched_is_named_and_kept_while_the_day_s_others_are_built():
    kept, other = sent(back(8)), sent(back(8))
    DailyTotal.objects.create(day=back(8), service=kept.service, notification_type="sms", counts={"sent": 9})
    out = call(COMMAND, back(8), back(8))
    assert f"{kept.service.name} sms: kept as stored" in out
    assert f"{other.service.name} sms: nothing → sent 1" in out
    assert DailyTotal.objects.get(service=kept.service).counts == {"sent": 9}


def test_processing_time_shows_the_ten_seconds():
    sent(back(1))
    assert "nothing → 1 within ten seconds" in call("backfill_processing_time", back(1), back(1))


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-02-30", "2026-03-01", "no date"),
        ("tomorrow", "2026-03-01", "no date"),
        ("20260301", "2026-03-01", "no date"),
        ("2026-03-02", "2026-03-01", "after END"),
        ("2026-01-01", "2026-02-01", "--yes-large"),
        ("2015-12-31", "2016-01-01", "before 2016"),
        ("2026-03-01", str(date(9999, 1, 1)), "not over"),
    ],
)
def test_bad_days_are_refused_as_wrong_usage(start, end, words):
    with pytest.raises(CommandError, match=words) as refused:
        call(COMMAND, start, end)
    assert refused.value.returncode == 2
    assert not DailyTotal.objects.exists()


def test_exactly_31_days_need_no_leave_and_more_are_allowed_with_it():
    call(COMMAND, back(31), back(1))
    call(COMMAND, back(32), back(1), "--yes-large")
    with pytest.raises(CommandError):
        call(COMMAND, back(1), back(0))


@pytest.mark.django_db(transaction=True)
def test_a_second_backfill_at_once_is_refused():
    held, done = threading.Event(), threading.Event()

    def other():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        held.set()
        done.wait(10)
        connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert held.wait(10)
        with pytest.raises(CommandError, match=r"already running on host .* since") as refused:
            call(COMMAND, back(1), back(1))
        assert refused.value.returncode == 3
    finally:
        done.set()
        thread.join()
