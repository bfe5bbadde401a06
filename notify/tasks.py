"""The shell around totals, retention and alerts: reads the clock, calls the verb."""

from datetime import date

from celery import shared_task
from django.utils import timezone

from notify import deletion, performance_platform, telling, totals
from notify.loops import refuse_transaction


@shared_task(name="notify.send_daily_performance_platform_stats")
def send_daily_performance_platform_stats(after: str | None = None) -> dict[str, int]:
    """Store yesterday's totals, and earlier days' that were not settled, and push them where a platform is set.

    When time is up, go on after what else waits in the queue. after: the last day that the turn before stored.
    """
    refuse_transaction()
    now = timezone.now()
    stored, left_after = totals.store_due(now=now, after=date.fromisoformat(after) if after else None)
    if left_after:
        send_daily_performance_platform_stats.delay_on_commit(str(left_after))
        return stored
    return stored | {"pushed": performance_platform.push(now=now)}


@shared_task(name="notify.delete_notifications_older_than_retention")
def delete_notifications_older_than_retention() -> dict[str, int]:
    """Delete what is past retention; when time is up, go on after what else waits in the queue."""
    done = deletion.delete_past_retention(now=timezone.now())
    if done["unfinished"]:
        delete_notifications_older_than_retention.delay_on_commit()
    return done


@shared_task(name="notify.send_alerts")
def send_alerts() -> dict[str, int]:
    """Tell people of open alerts."""
    return telling.send_alerts(now=timezone.now())
