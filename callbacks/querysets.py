"""Conditions on endpoints and callbacks, each written once."""

from datetime import datetime
from typing import Self

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
