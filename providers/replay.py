"""The slow rule over minutes that are past: what it would have done. Plain values; providers/backtest.py reads them.

The same `decide`, `rested` and `tend` as the watchdogs use, at every full minute. What a replay can know are the
delivery times of messages that really went by each provider. So:

* A message that really went by a provider at a minute when the replay sends nothing there is not in that provider's
  sample: the rule would not have seen it.
* Where the replay sends by a provider that really carried nothing that minute, nobody knows how fast it would have
  been: those messages are counted as `unknown`.
* A provider is taken to be as fast with more load as it was with less.
* Changes by hand are made again at their time. Holds of the past are not stored, so nobody is held. A provider whose
  share a person set to zero (or that was switched off) stays out until a person raises it.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Self

from django.conf import settings

from providers.models import SwitchPolicy
from providers.replay_values import Carried, Carrier, Group, HandChange, Point, Sample, Switch
from providers.switching import Standing, Verdict, decide, rested, tend

MINUTE = timedelta(minutes=1)
TENDED_EVERY = 5  # minutes: the default schedule of providers.tend_providers_back_to_middle
FLAP_WITHIN = timedelta(hours=1)
POINTS = 288  # of a curve: enough for a screen, however long the time


@dataclass
class Replay:
    """A rule's course over the minutes from `start` on; see the top of this file for what it can know.

    start: a full minute (aware, UTC). last_change: when a share had last changed before it.
    """

    carriers: Sequence[Carrier]
    policy: SwitchPolicy
    start: datetime
    last_change: datetime | None = None
    hand_changes: Sequence[HandChange] = ()

    def __post_init__(self) -> None:
        names = [carrier.identifier for carrier in self.carriers]
        self.switches: list[Switch] = []
        self.carried = {name: Carried() for name in names}
        self.curves: dict[str, list[Point]] = {name: [] for name in names}
        self.all_slow_minutes = 0
        self.end = self.start
        self._real, self._seen = ({name: Sample() for name in names} for _ in range(2))
        self._left: dict[str, datetime] = {}
        self._highest: dict[str, float] = {}
        self._changes = deque(sorted(self.hand_changes, key=lambda change: change.minute))

    def run(self, groups: Iterable[Group], minutes: int) -> Self:
        """Go through the minutes 0 to `minutes`, once; groups: in the order in which they entered.

        Memory stays flat: of the messages only the running sums of one window are kept.
        """
        self.end = self.start + minutes * MINUTE
        point_every = max(1, ceil(minutes / POINTS))
        for minute, entered in _by_minute(groups, minutes):
            self._pass(minute, entered)
            if minute % point_every == 0:
                self._draw(self.start + minute * MINUTE)
        return self

    @property
    def flaps(self) -> int:
        """Switches back within an hour."""
        return sum(switch.flap for switch in self.switches)

    def _pass(self, minute: int, entered: Sequence[Group]) -> None:
        now, parts, sent = self.start + minute * MINUTE, self._parts(), Counter()
        for group in entered:
            if group.provider in self.carried:
                self._real[group.provider].add(group, minute)
                if parts.get(group.provider):
                    self._seen[group.provider].add(group, minute)
                if group.entered > 0:
                    sent[group.provider] += group.count
        for name in self.carried:
            self._real[name].advance(minute)
            self._seen[name].advance(minute)
        self._account(sent, parts)
        self._by_hand(minute, now)
        self._judge(now)
        if minute % TENDED_EVERY == 0 and rested(self.last_change, now):
            self._tend(now)

    def _parts(self) -> dict[str, float]:
        """Return each provider's part of the traffic, by the rule of providers/shares.py."""
        active = [carrier for carrier in self.carriers if not carrier.out]
        if len(active) == 1:
            return {active[0].identifier: 1.0}
        shares = sum(carrier.share for carrier in active)
        return {carrier.identifier: carrier.share / shares for carrier in active} if shares else {}

    def _account(self, sent: Counter[str], parts: dict[str, float]) -> None:
        everything = sent.total()
        for name, carried in self.carried.items():
            moved = everything * parts.get(name, 0.0)
            carried.sent += sent[name]
            carried.unknown += 0 if sent[name] else moved
            standing = self._standing(name, self._real)
            if standing.is_slow(self.policy):
                carried.slow_minutes += 1
                carried.while_slow += sent[name]
                carried.replayed += moved
            if standing.total >= max(1, self.policy.minimum_sample):
                self._highest[name] = max(self._highest.get(name, 0.0), standing.slow / standing.total)

    def _standing(self, name: str, samples: dict[str, Sample], share: int = 0) -> Standing:
        return Standing(name, share, slow=samples[name].slow, total=samples[name].total)

    def _by_hand(self, minute: int, now: datetime) -> None:
        while self._changes and self._changes[0].minute <= minute:
            change = self._changes.popleft()
            for carrier in self.carriers:
                if carrier.identifier == change.identifier:
                    carrier.share, carrier.out, self.last_change = change.share, change.share == 0, now

    def _judge(self, now: datetime) -> None:
        on = {carrier.identifier: carrier for carrier in self.carriers if not carrier.out}
        standings = [self._standing(name, self._seen, carrier.share) for name, carrier in on.items()]
        decision = decide(standings, self.policy, last_change=self.last_change, now=now)
        self.all_slow_minutes += decision.verdict == Verdict.ALL_SLOW
        if decision.verdict != Verdict.MOVE:
            return
        raised = [name for name, share in decision.shares.items() if share > on[name].share]
        flap = any(name in self._left and now - self._left[name] <= FLAP_WITHIN for name in raised)
        self._left |= {name: now for name, share in decision.shares.items() if share < on[name].share}
        for name, share in decision.shares.items():
            on[name].share = share
        seen = {standing.identifier: (standing.slow, standing.total) for standing in standings}
        shares = {name: carrier.share for name, carrier in on.items()}
        self.switches.append(Switch(now, decision.slow, decision.described(seen), shares, flap))
        self.last_change = now

    def _tend(self, now: datetime) -> None:
        for carrier in self.carriers:
            share = tend(carrier.share, carrier.resting_share, settings.PROVIDERS_REST_STEP)
            if not carrier.out and share != carrier.share:
                carrier.share, self.last_change = share, now

    def _draw(self, now: datetime) -> None:
        parts = self._parts()
        for name, points in self.curves.items():
            points.append(Point(now, self._highest.pop(name, None), round(100 * parts.get(name, 0.0))))


def _by_minute(groups: Iterable[Group], minutes: int) -> Iterator[tuple[int, list[Group]]]:
    """Give every minute with the groups that entered by it."""
    rest = iter(groups)
    waiting = next(rest, None)
    for minute in range(minutes + 1):
        entered = []
        while waiting is not None and waiting.entered <= minute:
            entered.append(waiting)
            waiting = next(rest, None)
        yield minute, entered
