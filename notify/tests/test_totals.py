"""A local day's totals."""

from datetime import UTC, date, datetime, timedelta

import pytest

from notify import totals
from notify.clock import local_day
from notify.models import DailyTotal, DataRetention
from notify.testing import make_notification, make_template

NOW = datetime(2026, 10, 28, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.django_db


def message(created, template=None, **fields):
    return make_notification(template=template or make_template(), created_at=created, **({"status": "sent"} | fields))


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 10, 25), 25), (date(2026, 3, 29), 23), (date(2026, 7, 1), 24)])
def test_a_day_runs_from_local_midnight_to_local_midnight(day, hours):
    start, end = local_day(day)
    assert end - start == timedelta(hours=hours)
    template = make_template()
    for moment in (start - SECOND, start, end - SECOND, end):
        message(moment, template)
    totals.store_day(day, judged_on=day)
    assert DailyTotal.objects.get().counts == {"sent": 2}


def test_counts_are_by_status_channel_and_service_and_ten_seconds_are_still_quick():
    start = local_day(date(2026, 10, 27))[0]
    sms, email = make_template(), make_template(notification_type="email")
    for wait in (9, 10, 11):
        message(start, sms, sent_at=start + wait * SECOND)
    message(start, sms, status="created", sent_at=None)
    message(start, email, status="delivered", sent_at=start + 10.001 * SECOND)
    assert totals.store_day(date(2026, 10, 27), judged_on=date(2026, 10, 27)) == 2
    assert DailyTotal.objects.get(service=sms.service).counts == {"sent": 3, "created": 1}
    assert DailyTotal.objects.get(service=sms.service).sent_within_ten_seconds == 2
    assert DailyTotal.objects.get(service=email.service).sent_within_ten_seconds == 0


def test_storing_twice_replaces():
    day = date(2026, 10, 27)
    row = message(local_day(day)[0], status="sending")
    totals.store_day(day, judged_on=day)
    DailyTotal.objects.update(pushed_at=NOW)
    type(row).objects.filter(pk=row.pk).update(status="delivered")
    totals.store_day(day, judged_on=day)
    assert (DailyTotal.objects.get().counts, DailyTotal.objects.get().pushed_at) == ({"delivered": 1}, None)


def test_a_day_without_messages_has_no_total():
    assert totals.store_day(date(2026, 10, 27), judged_on=date(2026, 10, 28)) == 0


@pytest.mark.parametrize(("age", "days", "rebuilt"), [(7, None, True), (8, None, False), (3, 3, True), (4, 3, False)])
def test_what_retention_may_have_touched_stays_as_stored(age, days, rebuilt):
    today = date(2026, 10, 28)
    day = today - timedelta(days=age)
    row = message(local_day(day)[0])
    if days:
        DataRetention.objects.create(service=row.service, notification_type="sms", days=days)
    DailyTotal.objects.create(day=day, service=row.service, notification_type="sms", counts={"sent": 9})
    assert bool(totals.store_day(day, judged_on=today)) is rebuilt
    assert DailyTotal.objects.get().counts == {"sent": 1 if rebuilt else 9}
    assert bool(totals.kept(day, today=today)) is not rebuilt


def test_a_thinned_total_stays_even_where_retention_became_longer():
    day = date(2026, 10, 27)
    row = message(local_day(day)[0])
    DailyTotal.objects.create(day=day, service=row.service, notification_type="sms", counts={"sent": 9}, thinned=True)
    assert totals.store_day(day, judged_on=day) == 0
    assert len(totals.kept(day, today=day)) == 1


def test_due_are_yesterday_days_with_messages_and_no_total_and_days_that_were_not_settled():
    template = make_template()
    today = date(2026, 10, 28)
    for age, counts in {20: {"sending": 1}, 15: {"delivered": 1}, 4: {"sent": 2}}.items():
        day = today - timedelta(days=age)
        DailyTotal.objects.create(day=day, service=template.service, notification_type="sms", counts=counts)
    for age in (92, 91, 20, 17, 4, 3):  # 17: a gap before the newest day that is stored
        message(local_day(today - timedelta(days=age))[0], template)
    assert [(today - day).days for day in totals.days_due(now=NOW)] == [91, 20, 17, 3, 1]


def test_a_gap_is_made_good_once():
    message(NOW - timedelta(days=5))
    totals.store_due(now=NOW - timedelta(days=7))
    message(NOW - timedelta(days=2))
    totals.store_day(date(2026, 10, 26), judged_on=date(2026, 10, 27))
    assert totals.store_due(now=NOW) == ({"found": 2, "repaired": 1}, None)
    assert totals.store_due(now=NOW) == ({"found": 1, "repaired": 0}, None)


@pytest.mark.parametrize("day", [date(2026, 10, 25), date(2026, 3, 29)])
def test_the_days_the_clocks_change_are_found_from_their_first_to_their_last_second(day):
    start, end = local_day(day)
    for moment in (start, end - SECOND):
        assert totals._with_messages([day]) == []
        row = message(moment)
        assert totals._with_messages([day - timedelta(days=1), day, day + timedelta(days=1)]) == [day]
        row.delete()


def test_the_first_run_stores_every_day_there_is_and_an_empty_house_only_yesterday():
    assert totals.days_due(now=NOW) == [date(2026, 10, 27)]
    message(NOW - timedelta(days=2))
    assert totals.days_due(now=NOW) == [date(2026, 10, 26), date(2026, 10, 27)]
    totals.store_due(now=NOW)
    assert DailyTotal.objects.get().day == date(2026, 10, 26)
