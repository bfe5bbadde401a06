"""How a provider did over the last hours, in a few queries however many messages it carried."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count, DateTimeField, F, Func, Q, Value
from django.db.models.functions import Coalesce

from notify.models import Notification
from notify.querysets import slower_than
from providers.models import Provider, ProviderChange, SwitchPolicy
from providers.switching import policy_of

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SPANS = {1: MINUTE, 6: 5 * MINUTE, 24: 15 * MINUTE, 168: 2 * HOUR}  # hours looked at: length of a bucket
Status = Notification.Status
FAILED = (Status.PERMANENT_FAILURE, Status.TEMPORARY_FAILURE, Status.TECHNICAL_FAILURE)
CHANGES_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Bucket:
    """Messages handed over in [at, at + span), by what is known of them now. slow: of the judged ones."""

    at: datetime
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    judged: int = 0
    slow: int = 0

    @property
    def on_the_way(self) -> int:
        """Neither delivered nor failed; messages abroad stay here."""
        return self.sent - self.delivered - self.failed

    @property
    def ratio(self) -> float | None:
        """Slow ÷ judged; None where nothing was sent that could be judged."""
        return self.slow / self.judged if self.judged else None


@dataclass(frozen=True, slots=True)
class Health:
    """What the page shows: [start, end) holds `now`, after which there is nothing yet.

    ratios: (moment, slow ÷ judged of the messages handed over in the `judged_over` before it), in hindsight; None where
    they were fewer than the policy's sample. shares: (moment, share from then on), the first at the start.
    changes: newest first, at most CHANGES_SHOWN.
    """

    provider: Provider
    policy: SwitchPolicy
    start: datetime
    end: datetime
    now: datetime
    span: timedelta
    judged_over: timedelta
    buckets: Sequence[Bucket]
    ratios: Sequence[tuple[datetime, float | None]]
    shares: Sequence[tuple[datetime, int]]
    changes: Sequence[ProviderChange]

    @property
    def totals(self) -> Bucket:
        """All buckets in one."""
        names = ("sent", "delivered", "failed", "judged", "slow")
        return Bucket(self.start, **{name: sum(getattr(one, name) for one in self.buckets) for name in names})


def health(provider: Provider, *, hours: int, now: datetime) -> Health:
    """Look at the last hours (one of SPANS), in whole buckets up to the one that holds `now`. Four queries."""
    span = SPANS[hours]
    end = _floor(now, span) + span
    start = end - timedelta(hours=hours)
    policy = policy_of(provider.notification_type)
    # Buckets in the rule's window; one where a bucket is longer, and no more than a day's.
    judged = max(1, ceil(min(policy.window, 24 * HOUR) / span))
    first = start - (judged - 1) * span
    found = _counted(provider, policy, first, span, now)
    buckets = [found.get(at, Bucket(at)) for at in (first + place * span for place in range((end - first) // span))]
    inside = provider.changes.filter(created_at__gte=start, created_at__lt=end).order_by("-created_at", "-pk")
    changes = list(inside.select_related("changed_by")[:CHANGES_SHOWN])
    # The curve needs all of them: what is not named still moved the share. At most 2,016 a week are a rule's.
    every = changes if len(changes) < CHANGES_SHOWN else list(inside.only("created_at", "share_before", "share_after"))
    ratios, shares = _ratios(buckets, judged, policy, span, now), _shares(provider, start, every)
    shown = buckets[judged - 1 :]
    return Health(provider, policy, start, end, now, span, judged * span, shown, ratios, shares, changes)


def _ratios(
    buckets: Sequence[Bucket], judged: int, policy: SwitchPolicy, span: timedelta, now: datetime
) -> list[tuple[datetime, float | None]]:
    """Return the part that was slow of every run of `judged` buckets, by the run's end (at most `now`)."""
    found: list[tuple[datetime, float | None]] = []
    for last in range(judged - 1, len(buckets)):
        run = buckets[last - judged + 1 : last + 1]
        slow, count = sum(one.slow for one in run), sum(one.judged for one in run)
        enough = count >= max(1, policy.minimum_sample)
        found.append((min(now, buckets[last].at + span), slow / count if enough else None))
    return found


def _counted(
    provider: Provider, policy: SwitchPolicy, start: datetime, span: timedelta, now: datetime
) -> dict[datetime, Bucket]:
    """Count by bucket in one query, over the index notification_sent."""
    bucket = Func(Value(span), F("sent_at"), Value(start), function="date_bin", output_field=DateTimeField())
    sent = Notification.objects.filter(
        notification_type=provider.notification_type, sent_at__gte=start, sent_at__lte=now,
        provider_name=provider.identifier,
    ).annotate(arrived_at=Coalesce("delivered_at", "updated_at", "sent_at"), bucket=bucket)  # fmt: skip
    rows = sent.order_by().values("bucket").annotate(
        sent=Count("pk"),
        delivered=Count("pk", filter=Q(status=Status.DELIVERED)),
        failed=Count("pk", filter=Q(status__in=FAILED)),
        judged=Count("pk", filter=Q(status__in=[Status.DELIVERED, Status.SENDING, Status.PENDING])),
        slow=Count("pk", filter=slower_than(policy.slow_after, now)),
    )  # fmt: skip
    return {row["bucket"]: Bucket(row.pop("bucket"), **row) for row in rows}


def _shares(provider: Provider, start: datetime, changes: Sequence[ProviderChange]) -> list[tuple[datetime, int]]:
    """Return the share at the start and after each change; without any record, what it is now."""
    if changes:
        first = changes[-1].share_before
    else:
        before = provider.changes.filter(created_at__lt=start).order_by("-created_at", "-pk").first()
        now = provider.share if provider.active else 0
        first = before.share_after if before else now
    return [(start, first), *((change.created_at, change.share_after) for change in reversed(changes))]


def _floor(moment: datetime, span: timedelta) -> datetime:
    """Return the start of the bucket that holds a moment; buckets begin at full hours (UTC)."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // span * span
