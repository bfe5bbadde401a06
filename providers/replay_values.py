"""What a replay of the slow rule is told and what it says: plain values, and the running sums of one window."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Group:
    """Messages the rule sees alike. All four are minutes since the start, below zero before it.

    They are in the sample from `entered` until before `leaves`, and slow from `slow_from` until before `slow_until`.
    """

    provider: str
    entered: int
    leaves: int
    slow_from: int
    slow_until: int
    count: int


@dataclass(slots=True)
class Carrier:
    """A provider as the replay goes on. out: a person took it out of traffic."""

    identifier: str
    share: int
    resting_share: int
    out: bool = False


@dataclass(frozen=True, slots=True)
class HandChange:
    """A share that a person set, at a minute since the start."""

    minute: int
    identifier: str
    share: int


@dataclass(frozen=True, slots=True)
class Switch:
    """Traffic that the rule would have moved. flap: back to a provider it had left within the hour."""

    at: datetime
    slow: tuple[str, ...]
    described: str
    shares: dict[str, int]
    flap: bool


@dataclass(slots=True)
class Carried:
    """What one provider carried. slow_minutes: how long its real sample was slow by these parameters.

    while_slow: messages it really carried in those minutes; replayed: those it would have carried in them.
    unknown: messages of the replay in minutes in which it really carried none.
    """

    sent: int = 0
    slow_minutes: int = 0
    while_slow: int = 0
    replayed: float = 0
    unknown: float = 0

    @property
    def fewer(self) -> float:
        """How many messages fewer would have gone through it while it was slow; below zero: more."""
        return self.while_slow - self.replayed


@dataclass(frozen=True, slots=True)
class Point:
    """One place of a provider's curve. ratio: the highest since the last one; None: too few messages to judge."""

    at: datetime
    ratio: float | None
    share: int


class Sample:
    """Running sums of one provider's window."""

    def __init__(self) -> None:
        self.slow = self.total = 0
        self._ahead: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, group: Group, minute: int) -> None:
        """Count a group from this minute on, for as long as it is seen."""
        for place, start, end in ((0, group.slow_from, group.slow_until), (1, group.entered, group.leaves)):
            if end > max(start, minute):
                self._ahead[max(start, minute)][place] += group.count
                self._ahead[end][place] -= group.count

    def advance(self, minute: int) -> None:
        """Be at this minute."""
        if change := self._ahead.pop(minute, None):
            self.slow += change[0]
            self.total += change[1]
