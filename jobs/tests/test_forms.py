"""Reading a date and time on local clocks."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from jobs.forms import LocalMomentField, comes_twice


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2026-11-24T09:30", datetime(2026, 11, 24, 9, 30, tzinfo=UTC)),
        ("2026-07-01 09:30", datetime(2026, 7, 1, 8, 30, tzinfo=UTC)),
        ("2026-07-01T09:30:15", datetime(2026, 7, 1, 8, 30, 15, tzinfo=UTC)),
        ("2026-07-01T09:30Z", datetime(2026, 7, 1, 9, 30, tzinfo=UTC)),
        ("2026-03-29T00:59", datetime(2026, 3, 29, 0, 59, tzinfo=UTC)),
        ("2026-03-29T02:00", datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        ("2026-10-25T01:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_on_local_clocks_unless_it_names_a_zone(typed, moment):
    assert LocalMomentField().clean(typed) == moment


def test_an_empty_field_means_no_time():
    assert LocalMomentField(required=False).clean(" ") is None


@pytest.mark.parametrize("typed", ["2026-03-29T01:00", "2026-03-29T01:59:59"])
def test_a_time_that_clocks_skip_is_refused(typed):
    with pytest.raises(ValidationError, match="SCHEDULE_NO_SUCH_TIME"):
        LocalMomentField().clean(typed)


@pytest.mark.parametrize("typed", ["tomorrow", "2026-11-25", "2026-13-45T09:00", "2026-11-25T25:00", "9:30", "\x00:"])
def test_what_is_no_date_and_time_is_refused(typed):
    with pytest.raises(ValidationError, match="SCHEDULE_UNREADABLE"):
        LocalMomentField().clean(typed)


def test_only_the_first_showing_of_a_repeated_hour_comes_twice():
    shown = {
        "just before": datetime(2026, 10, 24, 23, 59, tzinfo=UTC),
        "first showing": datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        "second showing": datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        "after": datetime(2026, 10, 25, 2, 0, tzinfo=UTC),
    }
    assert [label for label, moment in shown.items() if comes_twice(moment)] == ["first showing"]
