"""Messages for the drills of totals and retention, and what is right, worked out without the code that is drilled."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from drills.house import House, NotAsExpected

LONDON = ZoneInfo("Europe/London")
CHANNELS = ("sms", "email", "letter")
Counts = dict[tuple[date, str, str], dict[str, int]]


def start_afresh(house: House) -> None:
    """Remove whatever an earlier drill left."""
    house.query(
        "TRUNCATE notify_service, notify_notification, notify_dailytotal, notify_dataretention, letters_letter, "
        "providers_receipt, providers_provider, callbacks_callback CASCADE"
    )


def local_date(moment: datetime) -> date:
    """Return the day on London's calendar, by the clock on the wall."""
    return moment.astimezone(LONDON).date()


def messages() -> list[dict[str, Any]]:
    """Return every message there is, oldest first."""
    from notify.models import Notification

    columns = ("pk", "service_id", "notification_type", "status", "created_at", "sent_at", "job__archived")
    return list(Notification.objects.order_by("created_at").values(*columns))


def counted(found: Iterable[dict[str, Any]]) -> Counts:
    """Count messages by local day, service, channel and status; "quick": sent within ten seconds."""
    counts: dict[tuple[date, str, str], Counter[str]] = {}
    for one in found:
        key = (local_date(one["created_at"]), str(one["service_id"]), one["notification_type"])
        own = counts.setdefault(key, Counter())
        own[one["status"]] += 1
        own["quick"] += one["sent_at"] is not None and one["sent_at"] - one["created_at"] <= timedelta(seconds=10)
    return {key: dict(own) for key, own in counts.items()}


def stored() -> Counts:
    """Return the stored totals in the same form."""
    from notify.models import DailyTotal

    return {
        (total.day, str(total.service_id), total.notification_type): total.counts
        | {"quick": total.sent_within_ten_seconds}
        for total in DailyTotal.objects.all()
    }


def compare(what: str, found: Any, right: Any) -> None:
    """Raise NotAsExpected with the first difference between two dicts or sets."""
    if found == right:
        return
    if isinstance(right, dict):
        keys = [key for key in right.keys() | found.keys() if right.get(key) != found.get(key)]
        said = f"{keys[0]} is {found.get(keys[0])}, not {right.get(keys[0])}"
    else:
        said = f"{len(found - right)} too many, {len(right - found)} missing"
    raise NotAsExpected(f"{what}: {said}.")
