"""Volumes added up, and their CSV."""

import csv
import io
from datetime import date, timedelta

import pytest

from notify import volumes
from notify.models import DailyTotal
from notify.performance_platform import record
from notify.testing import make_service
from notify.volumes import Counted, Period

DAY = date(2026, 11, 23)
NEXT = DAY + timedelta(days=1)
EVERY_STATUS = {status: 2**place for place, status in enumerate(volumes.Status.values)}
pytestmark = pytest.mark.django_db


def total(counts, day=DAY, service=None, channel="sms", quick=0):
    return DailyTotal.objects.create(
        day=day, service=service or make_service(), notification_type=channel, counts=counts,
        sent_within_ten_seconds=quick,
    )  # fmt: skip


def counted(period=Period(DAY, DAY)):  # noqa: B008
    return volumes.added_up(volumes.by_day_and_channel(period))


def rows(period):
    """Read the CSV back."""
    text = "".join(volumes.csv_lines(period))
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_every_status_is_counted_in_exactly_one_part():
    total(EVERY_STATUS)
    found = counted()
    assert found.messages == sum(EVERY_STATUS.values())
    assert found.delivered == EVERY_STATUS["delivered"]
    assert found.sent == EVERY_STATUS["sent"]
    assert found.failed == sum(
        EVERY_STATUS[name]
        for name in ("permanent-failure", "temporary-failure", "technical-failure", "returned-letter")
    )
    assert found.on_the_way == sum(EVERY_STATUS[name] for name in volumes.UNSETTLED)


def test_delivery_rate_leaves_out_what_nobody_reports_on_and_what_was_not_sent():
    total({"delivered": 3, "permanent-failure": 1, "sent": 5, "sending": 7, "cancelled": 9, "validation-failed": 11})
    assert counted().delivery_rate == 0.75
    assert Counted(sent=5, on_the_way=7, not_sent=9).delivery_rate is None


def test_the_share_within_ten_seconds_is_the_one_that_is_pushed_and_letters_have_none():
    counts = {"delivered": 3, "sending": 1, "created": 4, "cancelled": 2}
    assert counted().quick_share is None
    sms = total(counts, quick=3)
    assert counted().quick_share == record(DAY, "sms", [sms])["sent_within_ten_seconds_share"] == 0.75
    total({"sent": 100}, channel="letter")
    assert counted().quick_share == 0.75
    assert [line.counted.quick_share for line in volumes.by_day_and_channel(Period(DAY, DAY))] == [None, 0.75]


def test_both_days_of_a_period_belong_to_it_and_others_do_not():
    service = make_service()
    for ahead in range(-1, 3):
        total({"sent": 10 ** (ahead + 1)}, day=DAY + timedelta(days=ahead), service=service)
    assert counted(Period(DAY, NEXT)).messages == 110


def test_a_period_is_narrowed_to_a_service_and_a_channel():
    one = total({"sent": 1}).service
    total({"sent": 10}, service=one, channel="email")
    total({"sent": 100})
    assert counted(Period(DAY, DAY, service=one.pk)).messages == 11
    assert counted(Period(DAY, DAY, service=one.pk, channel="email")).messages == 10
    assert counted(Period(DAY, DAY, channel="sms")).messages == 101


def test_lines_are_added_up_by_service_and_the_newest_day_comes_first(monkeypatch):
    a, b = make_service(name="A"), make_service(name="B")
    for day in (DAY, NEXT):
        for service in (b, a):
            total({"sent": 1}, day=day, service=service)
    period = Period(DAY, NEXT)
    by_service = volumes.by_service_and_channel(period)
    assert [(line.service, line.counted.messages) for line in by_service] == [("A", 2), ("B", 2)]
    monkeypatch.setattr(volumes, "LINES_SHOWN", 2)
    lines = [(line.day, line.service, line.channel) for line in volumes.by_day_and_service(period)]
    assert lines == [(NEXT, "A", "sms"), (NEXT, "B", "sms"), (DAY, "A", "sms")]  # one more than shown: there are more


def test_csv_has_every_status_and_the_same_sums():
    total(EVERY_STATUS, quick=5)
    (row,) = rows(Period(DAY, DAY))
    assert {status: int(row[status]) for status in EVERY_STATUS} == EVERY_STATUS
    found = counted()
    assert (row["day"], row["channel"], int(row["messages"])) == ("2026-11-23", "SMS", found.messages)
    assert float(row["delivery rate"]) == round(found.delivery_rate, 4)
    assert float(row["share within ten seconds"]) == round(found.quick_share, 4)


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx"])
def test_a_service_named_like_a_formula_is_only_text_in_the_csv(name):
    total({"sent": 1}, service=make_service(name=name))
    assert rows(Period(DAY, DAY))[0]["service"] == f"'{name}"


def test_csv_takes_one_query_however_many_lines(django_assert_num_queries):
    service = make_service()
    for ahead in range(30):
        total({"sent": 1}, day=DAY + timedelta(days=ahead), service=service)
    with django_assert_num_queries(1):
        assert len(rows(Period(DAY, DAY + timedelta(days=29)))) == 30
