"""Reading what a replay of the slow rule needs: who carried what, when it arrived, and what people changed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from notify.models import DataRetention, Notification
from providers.models import Provider, ProviderChange, SwitchPolicy
from providers.replay import MINUTE, Replay
from providers.replay_values import Carrier, Group, HandChange
from providers.switching import last_change

LONGEST = 90  # days: no service keeps messages for longer

# The rule of Notification.objects.recently_sent and slower_than, seen from every minute at once. A message is in the
# sample from the first full minute after it was sent until its window has passed, or until it failed. It is slow from
# `slow_after` on, unless it is known by then to have arrived in time. Counted by the database, so that a million
# messages come as a few thousand rows.
_GROUPS = """
    WITH sent AS (
        SELECT provider_name, status, sent_at, sent_at + %(slow_after)s AS slow_at,
            coalesce(delivered_at, updated_at, sent_at) AS arrived_at, coalesce(updated_at, sent_at) AS changed_at
        FROM notify_notification
        WHERE notification_type = %(type)s AND sent_at >= %(start)s::timestamptz - %(window)s AND sent_at <= %(end)s
        AND status IN ('delivered', 'sending', 'pending', 'permanent-failure', 'temporary-failure', 'technical-failure')
    ), minutes AS (
        SELECT provider_name, count(*) AS messages,
            date_bin('1 minute', sent_at + %(almost)s, %(start)s) AS entered,
            least(date_bin('1 minute', sent_at + %(window)s, %(start)s) + interval '1 minute',
                CASE WHEN status LIKE '%%-failure' THEN date_bin('1 minute', changed_at + %(almost)s, %(start)s) END
            ) AS leaves,
            date_bin('1 minute', slow_at + %(almost)s, %(start)s) AS slow_from,
            CASE WHEN status = 'delivered' AND arrived_at < slow_at
                THEN date_bin('1 minute', changed_at + %(almost)s, %(start)s) ELSE 'infinity' END AS in_time
        FROM sent GROUP BY provider_name, entered, leaves, slow_from, in_time
    )
    SELECT provider_name, (extract(epoch FROM entered - %(start)s) / 60)::int AS minute,
        (extract(epoch FROM leaves - %(start)s) / 60)::int, (extract(epoch FROM slow_from - %(start)s) / 60)::int,
        (extract(epoch FROM least(leaves, in_time) - %(start)s) / 60)::int, messages
    FROM minutes ORDER BY minute
"""


def backtest(policy: SwitchPolicy, *, days: int, now: datetime) -> Replay:
    """Replay the slow rule with these parameters over the last days (24 hours each). Only reads.

    policy: need not be stored. now: the moment up to which it goes, to the full minute (aware, UTC).
    """
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(days=days)
    kind = policy.notification_type
    with transaction.atomic():  # one cursor on the server, read in pieces
        carriers, changes = _carriers(kind, start), _hand_changes(kind, start)
        replay = Replay(carriers, policy, start, last_change(kind, before=start), changes)
        return replay.run(groups(policy, start, end), (end - start) // MINUTE)


def groups(policy: SwitchPolicy, start: datetime, end: datetime) -> Iterator[Group]:
    """Read the messages of a time as the rule sees them, in the order in which they entered; inside atomic()."""
    values = {
        "type": policy.notification_type, "start": start, "end": end, "window": policy.window,
        "slow_after": policy.slow_after, "almost": MINUTE - timedelta(microseconds=1),
    }  # fmt: skip
    with connection.chunked_cursor() as cursor:
        cursor.execute(_GROUPS, values)
        for row in cursor:
            yield Group(*row)


def messages_since(notification_type: str, start: datetime, *, limit: int) -> int:
    """Count the messages sent since a moment, no further than one more than `limit`."""
    sent = Notification.objects.filter(notification_type=notification_type, sent_at__gte=start)
    return sent.order_by()[: limit + 1].count()


def note_on_retention(notification_type: str, days: int) -> str:
    """Say that some of the messages of the first days are deleted already; "" where they are all there."""
    own = DataRetention.objects.filter(notification_type=notification_type).values_list("days", flat=True)
    kept = min([settings.RETENTION_DAYS, *own])
    if days <= kept:
        return ""
    return (
        f"{days} days are asked for, but some services' messages are kept for {kept}: what is older is deleted, so the "
        "first days are judged by what is left."
    )


def _carriers(notification_type: str, start: datetime) -> list[Carrier]:
    """Return every provider of the channel with the share it had at a moment."""
    found = []
    for provider in Provider.objects.filter(notification_type=notification_type).defer("config"):
        before = provider.changes.filter(created_at__lt=start).order_by("-created_at", "-pk").first()
        after = provider.changes.filter(created_at__gte=start).order_by("created_at", "pk").first()
        now = provider.share if provider.active else 0
        share = before.share_after if before else after.share_before if after else now
        near = before or after
        by_hand = near.changed_by_id is not None if near else not provider.active
        found.append(Carrier(provider.identifier, share, provider.resting_share, out=share == 0 and by_hand))
    return found


def _hand_changes(notification_type: str, start: datetime) -> list[HandChange]:
    """Return what people changed; a change counts from the first full minute after it."""
    changes = ProviderChange.objects.filter(
        provider__notification_type=notification_type, created_at__gte=start, changed_by__isnull=False
    ).select_related("provider")
    return [
        HandChange(-((start - change.created_at) // MINUTE), change.provider.identifier, change.share_after)
        for change in changes.order_by("created_at", "pk")
    ]
