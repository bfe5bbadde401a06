"""Pushes the stored totals as JSON to PERFORMANCE_PLATFORM_URL; without that setting nothing is pushed.

One record per day and channel, with an id derived from both, so that a second push replaces the first.
"""

import asyncio
import base64
import logging
import time
from datetime import date, datetime, timedelta
from typing import Any

import aiohttp
from django.conf import settings

from notify.alerts import close_alert, raise_alert
from notify.clock import local_date, local_midnight
from notify.models import DailyTotal, NotificationType
from notify.totals import NEVER_SENT

logger = logging.getLogger(__name__)
KIND = "performance-platform-push"
NIGHTS = 3  # in vain before a person is told
TIMEOUT = 10  # seconds, wall clock, per request
_OLDEST_FIRST = ("day", "notification_type")


def push(*, now: datetime) -> int:
    """Push every day and channel that was not pushed as it stands, oldest first, until one fails. Returns how many.

    Works for about LOOP_FOR, so a slow platform keeps no alert waiting. What failed or was not reached stays and is
    tried again at the next run; alerted where a day is NIGHTS old and still not pushed.
    """
    if not settings.PERFORMANCE_PLATFORM_URL:
        close_alert(KIND, "push", now=now)
        return 0
    waiting = DailyTotal.objects.filter(pushed_at__isnull=True).order_by(*_OLDEST_FIRST)
    pushed, until = 0, time.monotonic() + settings.LOOP_FOR.total_seconds()
    for day, channel in waiting.values_list(*_OLDEST_FIRST).distinct():
        totals = list(DailyTotal.objects.filter(day=day, notification_type=channel))
        try:
            asyncio.run(_post(record(day, channel, totals)))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _note_failure(day, error, now=now)
            return pushed
        _mark_pushed(totals, now=now)
        pushed += 1
        if time.monotonic() >= until:
            break
    close_alert(KIND, "push", now=now)
    return pushed


def record(day: date, channel: str, totals: list[DailyTotal]) -> dict[str, Any]:
    """Return one channel's day as it is pushed. The share is 0 to 1 of the messages sent; null when none was.

    Letters leave by the day's print run: nothing is said of ten seconds.
    """
    counts: dict[str, int] = {}
    for total in totals:
        for status, number in total.counts.items():
            counts[status] = counts.get(status, 0) + number
    quick = sum(total.sent_within_ten_seconds for total in totals)
    sent = sum(number for status, number in counts.items() if status not in NEVER_SENT)
    by_the_second = channel != NotificationType.LETTER
    return {
        "_id": base64.b64encode(f"{day.isoformat()} {channel}".encode()).decode(),
        "_timestamp": local_midnight(day).isoformat(),
        "period": "day",
        "channel": channel,
        "count": sum(counts.values()),
        "counts": counts,
        "sent_within_ten_seconds": quick if by_the_second else None,
        "sent_within_ten_seconds_share": round(quick / sent, 4) if by_the_second and sent else None,
    }


def _mark_pushed(totals: list[DailyTotal], *, now: datetime) -> None:
    """Note that these were pushed, where they still are what was pushed: one counted anew meanwhile is pushed again."""
    for total in totals:
        same = {"counts": total.counts, "sent_within_ten_seconds": total.sent_within_ten_seconds}
        DailyTotal.objects.filter(pk=total.pk, **same).update(pushed_at=now)


async def _post(body: dict[str, Any]) -> None:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session,
        session.post(settings.PERFORMANCE_PLATFORM_URL, json=body, allow_redirects=False) as answer,
    ):
        if not 200 <= answer.status < 300:
            raise aiohttp.ClientError(f"answered {answer.status}")


def _note_failure(day: date, error: Exception, *, now: datetime) -> None:
    logger.warning("Totals of %s not pushed (%s)", day, type(error).__name__, extra={"day": str(day)})
    if local_date(now) - day >= timedelta(days=NIGHTS):
        raise_alert(
            KIND,
            "push",
            f"The totals of {day:%d %b %Y} could not be pushed for {NIGHTS} days ({type(error).__name__}). They are "
            f"kept and tried again every night. Check PERFORMANCE_PLATFORM_URL. See README, {KIND}.",
            now=now,
        )
