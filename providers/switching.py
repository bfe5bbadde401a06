"""Leaving a slow provider, and coming back gently. One rule, used by the watchdog and by the backtest.

`decide`, `rested` and `tend` take plain values: what is read, changed and written is in the functions below them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, QuerySet
from django.db.models.functions import Coalesce

from notify.alerts import close_alert, raise_alert
from notify.models import Notification, NotificationType
from notify.querysets import slower_than
from providers.models import Provider, ProviderChange, SwitchPolicy
from providers.usable import Backends

ALL_SLOW, HELD = "providers-all-slow", "provider-slow-held"
TENDED = "back towards the resting share"  # the reason of such a change


@dataclass(frozen=True, slots=True)
class Standing:
    """A provider as the rule sees it: its share, whether a person holds it, and how its last messages fared."""

    identifier: str
    share: int
    held: bool = False
    slow: int = 0
    total: int = 0

    def is_slow(self, policy: SwitchPolicy) -> bool:
        """Say whether enough of a large enough sample was slow."""
        return self.total >= max(1, policy.minimum_sample) and self.slow / self.total >= policy.threshold


class Verdict(StrEnum):
    """What the rule says at one moment."""

    FINE = "fine"
    ALL_SLOW = "all slow"
    SETTLING = "settling"
    HELD = "held"
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict with the slow providers, and the new shares where traffic moves."""

    verdict: Verdict
    slow: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()  # slow, carrying traffic, and kept there by a hold
    shares: Mapping[str, int] = field(default_factory=dict)

    def described(self, seen: Mapping[str, tuple[int, int]]) -> str:
        """Name the slow providers with what was counted."""
        return ", ".join(f"{name} ({seen[name][0]:,} of {seen[name][1]:,} messages)" for name in self.slow)


def decide(
    standings: Sequence[Standing], policy: SwitchPolicy, *, last_change: datetime | None, now: datetime
) -> Decision:
    """Say what the slow rule does; standings: the active providers of one channel.

    Nothing moves when every one is slow (the only one included), a share of the channel changed within
    `settle_for`, or the slow one or every possible receiver is held.
    """
    slow = [standing for standing in standings if standing.is_slow(policy)]
    names = tuple(standing.identifier for standing in slow)
    if not slow:
        return Decision(Verdict.FINE)
    if len(slow) == len(standings):
        return Decision(Verdict.ALL_SLOW, names)
    if last_change is not None and last_change >= now - policy.settle_for:
        return Decision(Verdict.SETTLING, names)
    giving = [standing for standing in slow if standing.share and not standing.held]
    receiving = [standing for standing in standings if standing not in slow and not standing.held]
    if not any(standing.share for standing in slow):
        return Decision(Verdict.FINE, names)
    if not giving or not receiving:
        return Decision(Verdict.HELD, names, stuck=tuple(standing.identifier for standing in slow if standing.share))
    stuck = tuple(standing.identifier for standing in slow if standing.share and standing.held)
    return Decision(Verdict.MOVE, names, stuck, _moved(giving, receiving, policy.step))


def rested(last_change: datetime | None, now: datetime) -> bool:
    """Say whether a channel's shares have been left alone for PROVIDERS_REST_AFTER, so that they tend to rest."""
    return last_change is None or last_change <= now - settings.PROVIDERS_REST_AFTER


def tend(share: int, resting: int, step: int) -> int:
    """Return a share one step nearer to where it rests."""
    return share + max(-step, min(step, resting - share))


def switch_on_slow_delivery(*, now: datetime, notification_type: str = NotificationType.SMS) -> dict[str, int]:
    """Move traffic away from a slow provider; alert where that is not possible. Two ticks at once change once.

    now: the moment to judge by (aware, UTC). Returns how many providers were slow and how many shares changed.
    """
    policy = policy_of(notification_type)
    with transaction.atomic():
        locked = Provider.objects.carrying(notification_type).select_for_update(no_key=True)
        backends = Backends()
        rows = [row for row in locked if not backends.problem(row)]  # a slow one is better than one that sends nothing
        seen = samples(policy, now=now)
        standings = [
            Standing(row.identifier, row.share, row.is_held(now), *seen.get(row.identifier, (0, 0))) for row in rows
        ]
        decision = decide(standings, policy, last_change=last_change(notification_type), now=now)
        changed = 0
        for row in rows:
            reason = f"slow: {decision.described(seen)}"
            changed += set_share(row, decision.shares.get(row.identifier, row.share), reason=reason, now=now)
        _alerts(decision, notification_type, now=now)
    return {"found": len(decision.slow), "repaired": changed}


def tend_to_middle(*, now: datetime) -> int:
    """Move shares a step towards rest in each channel without a change for PROVIDERS_REST_AFTER.

    A provider that is held, or switched off, neither gives nor receives. Returns how many shares changed.
    """
    changed = 0
    with transaction.atomic():
        for kind in sorted(NotificationType.values):  # the order in which ProviderQuerySet.lock_in_order goes
            rows = list(Provider.objects.carrying(kind).select_for_update(no_key=True).defer("config"))
            if not rested(last_change(kind), now):
                continue
            for row in rows:
                if not row.is_held(now):
                    share = tend(row.share, row.resting_share, settings.PROVIDERS_REST_STEP)
                    changed += set_share(row, share, reason=TENDED, now=now)
    return changed


def samples(policy: SwitchPolicy, *, now: datetime) -> dict[str, tuple[int, int]]:
    """Return {provider: (slow, all)} of the messages sent within the policy's window, in one query."""
    return {row["provider_name"]: (row["slow"], row["total"]) for row in counted(policy, now=now)}


def counted(policy: SwitchPolicy, *, now: datetime) -> QuerySet:
    """Count the messages within the policy's window by provider: all of them, and the slow ones."""
    recent = Notification.objects.recently_sent(
        now, notification_type=policy.notification_type, window=policy.window
    ).annotate(arrived_at=Coalesce("delivered_at", "updated_at", "sent_at"))
    return recent.values("provider_name").annotate(
        slow=Count("pk", filter=slower_than(policy.slow_after, now)), total=Count("pk")
    )


def policy_of(notification_type: str) -> SwitchPolicy:
    """Return the channel's policy; without a row the defaults hold."""
    stored = SwitchPolicy.objects.filter(notification_type=notification_type).first()
    return stored or SwitchPolicy(notification_type=notification_type)


def last_change(notification_type: str, *, before: datetime | None = None) -> datetime | None:
    """Return when a share of this channel last changed (before a moment), by hand or by rule."""
    changes = ProviderChange.objects.filter(provider__notification_type=notification_type)
    changes = changes.filter(created_at__lt=before) if before else changes
    return changes.aggregate(newest=Max("created_at"))["newest"]


def set_share(provider: Provider, share: int, *, reason: str, now: datetime) -> bool:
    """Write a share with its record, where it still is what was seen. Returns whether it changed."""
    if share == provider.share:
        return False
    mine = Provider.objects.filter(pk=provider.pk, share=provider.share)
    if not mine.update(share=share, updated_at=now):
        return False
    ProviderChange.objects.create(
        provider=provider, share_before=provider.share, share_after=share, reason=reason[:300], created_at=now
    )
    return True


def _moved(giving: Sequence[Standing], receiving: Sequence[Standing], step: int) -> dict[str, int]:
    """Take up to `step` points from each slow provider and spread them evenly, a share never passing 100."""
    shares = {standing.identifier: standing.share for standing in receiving}
    for standing in giving:
        moved = min(step, standing.share)
        shares[standing.identifier] = standing.share - moved
        part, rest = divmod(moved, len(receiving))
        for place, receiver in enumerate(receiving):
            shares[receiver.identifier] = min(100, shares[receiver.identifier] + part + (place < rest))
    return shares


def _alerts(decision: Decision, notification_type: str, *, now: datetime) -> None:
    """Keep the alerts that fit open, and close the others; while shares settle both stay as they are."""
    if decision.verdict == Verdict.SETTLING:
        return
    names = ", ".join(decision.slow)
    told = {
        ALL_SLOW: f"Every active provider of {notification_type} is slow ({names}); no traffic was moved. Ask the "
        f"providers, or switch on another one. See README, {ALL_SLOW}."
        if decision.verdict == Verdict.ALL_SLOW
        else "",
        HELD: f"{', '.join(decision.stuck)} is slow, but a hold keeps traffic where it is. Release the hold or change "
        f"the shares by hand (admin, Providers). See README, {HELD}."
        if decision.stuck
        else "",
    }
    for kind, text in told.items():
        if text:
            raise_alert(kind, notification_type, text, now=now)
        else:
            close_alert(kind, notification_type, now=now)
