"""What a moment means locally. Everything inside is aware UTC; local meaning goes through here only.

Arithmetic is done on the local *date*, then combined with the zone, then turned to UTC: adding a day to a local
moment is wrong by an hour on the two days the clocks change.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone


def zone() -> ZoneInfo:
    """Return the zone people read and type times in (NOTIFY_TIME_ZONE)."""
    return ZoneInfo(settings.NOTIFY_TIME_ZONE)


def local_date(now: datetime) -> date:
    """Return the local day of an aware moment."""
    return now.astimezone(zone()).date()


def at_local(day: date, clock: time) -> datetime:
    """Return the moment (UTC) when local clocks on `day` show `clock`.

    Of an hour that comes twice (autumn) the first is meant; in an hour that is skipped (spring) the moment is as far
    after the change as the clock time is after the skipped hour's start.
    """
    return datetime.combine(day, clock, tzinfo=zone()).astimezone(UTC)


def local_midnight(day: date) -> datetime:
    """Return the moment (UTC) at which the local day begins."""
    return at_local(day, time.min)


def local_day(day: date) -> tuple[datetime, datetime]:
    """Return the local day as [start, end) in UTC: 23 or 25 hours long when the clocks change."""
    return local_midnight(day), local_midnight(day + timedelta(days=1))


def print_deadline(day: date) -> datetime:
    """Return the moment (UTC) before which a letter must be made to go with the day's print run (LETTER_DEADLINE)."""
    return at_local(day, settings.LETTER_DEADLINE)


def newest_print_day(now: datetime) -> date:
    """Return the newest local day whose print run is due: PRINT_RUN_AT has come."""
    today = local_date(now)
    return today if now >= at_local(today, settings.PRINT_RUN_AT) else today - timedelta(days=1)


def from_naive_local(moment: datetime) -> datetime:
    """Turn a naive local moment, as providers write them, into UTC; an hour that comes twice means its first."""
    return moment.replace(tzinfo=zone(), fold=0).astimezone(UTC)


def iso(moment: datetime | None) -> str | None:
    """Write a moment as services receive it: `2026-11-24T09:30:00.000000Z`."""
    if moment is None:
        return None
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class LocalTimeMiddleware:
    """Show and read times in the admin in the local zone; TIME_ZONE stays UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Activate the zone for this request."""
        with timezone.override(zone()):
            return self.get_response(request)
