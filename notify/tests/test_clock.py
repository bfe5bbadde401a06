"""Local meaning on ordinary days and on the two on which the clocks change."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from django.http import HttpResponse
from django.utils import timezone as django_timezone

from notify import clock

SPRING, AUTUMN = date(2027, 3, 28), date(2026, 10, 25)  # London: 23 and 25 hours long
WINTER, SUMMER = date(2026, 11, 24), date(2026, 7, 1)
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "hours", "start"),
    [
        (WINTER, 24, "2026-11-24T00:00"),
        (SUMMER, 24, "2026-06-30T23:00"),
        (SPRING, 23, "2027-03-28T00:00"),
        (AUTUMN, 25, "2026-10-24T23:00"),
        (date(2026, 3, 29), 23, "2026-03-29T00:00"),
        (date(2027, 10, 31), 25, "2027-10-30T23:00"),
    ],
)
def test_a_local_day_is_as_long_as_it_is(day, hours, start):
    begin, end = clock.local_day(day)
    assert begin == utc(start) == clock.local_midnight(day)
    assert end - begin == hours * HOUR
    assert clock.local_day(day + timedelta(days=1))[0] == end  # half-open: days meet


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-06-30T22:59:59", date(2026, 6, 30)),
        ("2026-06-30T23:00:00", date(2026, 7, 1)),
        ("2026-11-24T23:59:59", WINTER),
        ("2026-11-25T00:00:00", date(2026, 11, 25)),
        ("2027-03-28T22:59:59", SPRING),
        ("2027-03-28T23:00:00", date(2027, 3, 29)),
        ("2026-10-25T23:59:59", AUTUMN),
        ("2026-10-26T00:00:00", date(2026, 10, 26)),
    ],
)
def test_the_local_date_changes_at_local_midnight(moment, day):
    assert clock.local_date(utc(moment)) == day


@pytest.mark.parametrize(
    ("day", "at", "moment"),
    [
        (WINTER, time(17, 50), "2026-11-24T17:50"),
        (SUMMER, time(17, 50), "2026-07-01T16:50"),
        (SPRING, time(17, 50), "2027-03-28T16:50"),
        (AUTUMN, time(17, 50), "2026-10-25T17:50"),
        (SPRING, time(0, 59), "2027-03-28T00:59"),
        (SPRING, time(1, 0), "2027-03-28T01:00"),  # skipped: clocks go from 00:59 to 02:00
        (SPRING, time(1, 30), "2027-03-28T01:30"),  # as far after the change as 01:30 is after 01:00
        (SPRING, time(2, 0), "2027-03-28T01:00"),
        (AUTUMN, time(0, 59), "2026-10-24T23:59"),
        (AUTUMN, time(1, 30), "2026-10-25T00:30"),  # comes twice: the first
        (AUTUMN, time(2, 0), "2026-10-25T02:00"),
    ],
)
def test_a_clock_time_of_a_day_is_one_moment(day, at, moment):
    assert clock.at_local(day, at) == utc(moment)
    assert clock.at_local(day, at).tzinfo is UTC


def test_the_same_clock_time_next_day_is_23_or_25_hours_later():
    for day, hours in ((SPRING, 23), (AUTUMN, 25), (WINTER, 24)):
        before = clock.at_local(day - timedelta(days=1), time(17, 50))
        assert clock.at_local(day, time(17, 50)) - before == hours * HOUR


@pytest.mark.parametrize(
    ("naive", "moment"),
    [
        (datetime(2026, 11, 24, 9, 30), "2026-11-24T09:30"),  # noqa: DTZ001
        (datetime(2026, 7, 1, 9, 30), "2026-07-01T08:30"),  # noqa: DTZ001
        (datetime(2026, 10, 25, 1, 30), "2026-10-25T00:30"),  # noqa: DTZ001
        (datetime(2026, 10, 25, 1, 30, fold=1), "2026-10-25T00:30"),  # noqa: DTZ001
        (datetime(2027, 3, 28, 1, 30), "2027-03-28T01:30"),  # noqa: DTZ001
    ],
)
def test_a_providers_local_time_becomes_utc(naive, moment):
    assert clock.from_naive_local(naive) == utc(moment)


def test_another_zone_can_be_set(settings):
    settings.NOTIFY_TIME_ZONE = "America/New_York"
    assert clock.at_local(WINTER, time(17, 50)) == utc("2026-11-24T22:50")
    assert clock.local_date(utc("2026-11-24T03:00")) == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (None, None),
        (utc("2026-11-24T09:30"), "2026-11-24T09:30:00.000000Z"),
        (utc("2026-11-24T09:30:01.000002"), "2026-11-24T09:30:01.000002Z"),
        (datetime(2026, 7, 1, 9, 30, tzinfo=timezone(HOUR)), "2026-07-01T08:30:00.000000Z"),
    ],
)
def test_a_moment_is_written_as_services_read_it(moment, text):
    assert clock.iso(moment) == text


def test_requests_see_local_time_and_leave_none_behind():
    seen = []

    def view(request):
        seen.append(django_timezone.get_current_timezone_name())
        return HttpResponse()

    clock.LocalTimeMiddleware(view)(None)
    assert seen == ["Europe/London"]
    assert django_timezone.get_current_timezone_name() == "UTC"
