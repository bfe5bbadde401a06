"""Conditions on providers and receipts, each written once."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Left

PART_KEY = 55  # characters of an array's key at the start of its elements' keys, before a dash and the place


class ProviderQuerySet(models.QuerySet):
    """Who may carry a message."""

    def carrying(self, notification_type: str) -> Self:
        """Switched on for this channel, in a stable order."""
        return self.filter(notification_type=notification_type, active=True).order_by("identifier")

    def carrying_each(self, notification_types: Iterable[str]) -> dict[str, list]:
        """Those carrying each of the channels, by channel, in one query."""
        found: dict[str, list] = {kind: [] for kind in notification_types}
        for provider in self.filter(notification_type__in=list(found), active=True).order_by("identifier"):
            found[provider.notification_type].append(provider)
        return found

    def locked(self, notification_type: str) -> list:
        """Lock all of a channel, in the order the rules lock them: until the transaction ends, nobody changes one.

        Receipts go on coming in: their key to a provider asks for less than such a lock forbids.
        """
        rows = self.filter(notification_type=notification_type).order_by("identifier")
        return list(rows.select_for_update(no_key=True))

    def lock_in_order(self, keys: Collection[int]) -> None:
        """Lock these of any channels, channel by channel, each in the order of `locked`: nobody waits in a circle."""
        if keys:
            rows = self.filter(pk__in=keys).order_by("notification_type", "identifier")
            list(rows.select_for_update(no_key=True).values_list("pk"))


class PauseQuerySet(models.QuerySet):
    """Whether sending is paused."""

    def on(self) -> Self:
        """Begun and not ended: nothing is sent."""
        return self.filter(ended_at__isnull=True)


class ReceiptQuerySet(models.QuerySet):
    """Which receipts are to be read."""

    def due(self, now: datetime) -> Self:
        """Stored and not applied, and not parked for later. Oldest first."""
        return self.filter(applied_at__isnull=True, due_at__lte=now).order_by("due_at")

    def unapplied(self) -> Self:
        """Stored and not applied, parked ones included."""
        return self.filter(applied_at__isnull=True)

    def with_unknown_code(self) -> Self:
        """Kept because the provider's code is not known, or put back and not yet read anew."""
        return self.filter(Q(outcome="unknown-code") | Q(applied_at__isnull=True, outcome="")).exclude(code="")

    def unreadable(self) -> Self:
        """Kept and tried again each hour, because a key is missing or the provider's backend does not load."""
        return self.filter(outcome="unreadable", applied_at__isnull=True)

    def finished_in_vain(self) -> Self:
        """Read and done with, and yet it does not count for any message."""
        return self.filter(applied_at__isnull=False).exclude(outcome="applied")

    def ended_as(self, outcome: str) -> Self:
        """Those of one outcome, each found over an index of its own; "" means not yet read."""
        if outcome in ("", "waiting", "unreadable"):
            return self.unapplied().filter(outcome=outcome)
        return self.filter(outcome=outcome) if outcome == "applied" else self.finished_in_vain().filter(outcome=outcome)

    def arrays_of(self, elements: Self) -> Self:
        """The arrays whose elements these are; an element's key begins as its array's."""
        begin = Left("dedupe_key", PART_KEY)
        mine = elements.annotate(begin=begin).filter(provider=OuterRef("provider"), begin=OuterRef("begin"))
        return self.filter(outcome="split", applied_at__isnull=False).annotate(begin=begin).filter(Exists(mine))

    def of_no_message(self, before: datetime) -> Self:
        """Done with and about no message (arrays that were split, references nobody knows), older than a moment."""
        done = self.filter(self.model.OF_NO_MESSAGE, applied_at__isnull=False)
        return done.filter(received_at__lt=before).order_by("received_at")
