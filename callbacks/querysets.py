"""Conditions on endpoints and callbacks, each written once."""

from datetime import datetime
from typing import Self

from django.db.models.functions import Coalesce

from notify.states import States


class CallbackQuerySet(States):
    """Which callbacks wait."""

    def waiting(self) -> Self:
        """Neither delivered nor given up."""
        return self.filter(status=self.model.Status.PENDING)

    def given_up(self) -> Self:
        """Tried to the end of the ladder in vain, and kept."""
        return self.filter(status=self.model.Status.EXHAUSTED)

    def due(self, now: datetime) -> Self:
        """To be delivered now, to an endpoint that is switched on; a lapsed lease included. Oldest first."""
        return self.waiting().filter(due_at__lte=now, endpoint__active=True).order_by("due_at")

    def ended_before(self, moment: datetime) -> Self:
        """Delivered or given up before a moment. Oldest first."""
        done = self.filter(status__in=self.model.FINAL).alias(ended=Coalesce("delivered_at", "due_at"))
        return done.filter(ended__lt=moment).order_by("ended", "pk")

    def nobody_delivers(self, before: datetime) -> Self:
        """Waiting since before a moment for an endpoint that is switched off. Each endpoint's oldest first."""
        return self.waiting().filter(endpoint__active=False, created_at__lt=before).order_by("endpoint", "due_at")
