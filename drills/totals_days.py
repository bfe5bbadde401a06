"""Days that are not like others: the clocks change, or nobody beats."""

import random
from datetime import UTC, date, datetime, timedelta

from drills.house import House, NotAsExpected
from drills.totals_made import LONDON, compare, counted, local_date, messages, stored

CHANGES = {date(2026, 3, 29): 23, date(2026, 10, 25): 25}  # hours
EVERY = timedelta(minutes=10)  # one message
KEPT = 3  # days


def clock_changes(house: House, chance: random.Random, *, every: int) -> str:
    """Send a message every ten minutes around both changes; count at 02:00 and delete at 03:00 local, night by night.

    Each message is counted once, on the day that its own clock on the wall shows, and goes on the night it should.
    """
    told = []
    for change, hours in CHANGES.items():
        _messages_around(change)
        everything = counted(messages())
        of_day = sum(number for key, counts in everything.items() if key[0] == change
                     for status, number in counts.items() if status != "quick")  # fmt: skip
        if of_day != hours * 6:
            raise NotAsExpected(f"{change} has {of_day} messages, not {hours * 6}: the drill itself is wrong.")
        for ahead in range(-1, 8):
            _night(change + timedelta(days=ahead), deleting=True)
        first = min(key[0] for key in everything)
        counted_days = {key: counts for key, counts in everything.items() if first <= key[0] < change + timedelta(7)}
        compare(f"Totals around {change}", stored(), counted_days)
        told.append(f"{change:%-d %B}: {of_day} messages in {hours} hours")
        _clear(house)
    return "; ".join(told)


def beat_away(house: House, chance: random.Random, *, every: int) -> str:
    """Let a night pass without either task, then one without counting: the next night makes good for both.

    In the second part deletion comes before counting, and still counts what it is about to delete.
    """
    day = date(2026, 5, 12)
    _messages_around(day)
    everything = counted(messages())
    _night(day - timedelta(days=1), deleting=True)
    _night(day + timedelta(days=1), deleting=True)  # the night before was missed
    _expect(everything, day + timedelta(days=1))
    _clear(house)
    _messages_around(day)
    everything = counted(messages())
    _night(day + timedelta(days=4), counting=False, deleting=True)
    gone = {key: counts for key, counts in everything.items() if key[0] < day + timedelta(days=4 - KEPT)}
    compare("Totals of what was deleted before the count", stored(), gone)
    _night(day + timedelta(days=4))
    _expect(everything, day + timedelta(days=4))
    return "a night without beat, and one in which deletion came before the count"


def _messages_around(change: date) -> None:
    """Make a message every ten minutes of the days around one; one in three was sent too late to be quick."""
    from notify import bulk
    from notify.fields import new_id
    from notify.models import DataRetention, Notification
    from notify.testing import make_template

    template = make_template()
    DataRetention.objects.create(service=template.service, notification_type="sms", days=KEPT)
    moment = datetime(change.year, change.month, change.day, tzinfo=UTC) - timedelta(days=3)
    rows = []
    for number in range(7 * 24 * 6):
        sent = moment + timedelta(seconds=(9, 10, 11)[number % 3])
        rows.append((new_id(), template.service_id, template.pk, 1, "sms", b"", "", b"", "", "delivered", "", "", "",
                     0, 0, moment, sent))  # fmt: skip
        moment += EVERY
    columns = ("id", "service_id", "template_id", "template_version", "notification_type", "recipient",
               "recipient_hash", "personalisation", "client_reference", "status", "status_reason", "provider_name",
               "provider_reference", "attempts", "unknown_outcomes", "created_at", "sent_at")  # fmt: skip
    bulk.insert_new(Notification, columns, rows)


def _night(day: date, *, counting: bool = True, deleting: bool = False) -> None:
    """Run the two tasks as at 02:00 and 03:00 local of this day; what is left is what should be."""
    from notify import deletion, totals

    if counting:
        totals.store_due(now=datetime(day.year, day.month, day.day, 2, tzinfo=LONDON).astimezone(UTC))
    if not deleting:
        return
    first_kept = day - timedelta(days=KEPT)
    right = {one["pk"] for one in messages() if local_date(one["created_at"]) >= first_kept}
    deletion.delete_past_retention(now=datetime(day.year, day.month, day.day, 3, tzinfo=LONDON).astimezone(UTC))
    compare(f"Messages after the night of {day}", {one["pk"] for one in messages()}, right)


def _expect(everything: dict, night: date) -> None:
    """Hold the totals of all days before a night against what was there."""
    compare(
        f"Totals in the night of {night}", stored(), {key: own for key, own in everything.items() if key[0] < night}
    )


def _clear(house: House) -> None:
    house.query("TRUNCATE notify_notification, notify_dailytotal, notify_dataretention CASCADE")
