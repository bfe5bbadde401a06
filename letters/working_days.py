"""Which days are worked: not weekends, not bank holidays; an operator's word on one day is the last."""

from datetime import date, timedelta
from functools import cache

import holidays
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from letters.models import BankHoliday

_SATURDAY = 5
_LOOKED_BACK = timedelta(days=60)  # more days than two working days ever need, all bank holidays of December included


def is_working_day(day: date) -> bool:
    """Say whether a local day is worked."""
    override = BankHoliday.objects.filter(day=day).first()
    return _worked(day, {day: override.working_day} if override else {})


def working_days_ago(day: date, number: int) -> date:
    """Return the working day that lies `number` working days before `day` (which itself does not count).

    Of a Monday two working days ago is the Thursday, of a Wednesday the Monday. Raises ValueError where two months
    have too few: then the calendar is wrong.
    """
    since = day - _LOOKED_BACK
    words = dict(BankHoliday.objects.filter(day__gte=since, day__lt=day).values_list("day", "working_day"))
    for back in range(1, _LOOKED_BACK.days + 1):
        candidate = day - timedelta(days=back)
        number -= _worked(candidate, words)
        if number <= 0:
            return candidate
    raise ValueError(f"Too few working days in the two months before {day}: look at the bank holidays.")


def _worked(day: date, words: dict[date, bool]) -> bool:
    if day in words:
        return words[day]
    return day.weekday() < _SATURDAY and day not in _calendar(settings.BANK_HOLIDAYS)


@cache
def _calendar(name: str) -> holidays.HolidayBase | frozenset:
    """Return the bank holidays of `GB-ENG`: a country, and a subdivision where it has any. Empty: none."""
    if not name:
        return frozenset()
    country, _, subdivision = name.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=subdivision or None)
    except NotImplementedError as error:
        raise ImproperlyConfigured(f"BANK_HOLIDAYS {name!r} is no country and subdivision, such as GB-ENG.") from error
