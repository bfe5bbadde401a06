"""Conditions on jobs, each written once."""

from datetime import datetime
from typing import Self

from notify.states import States


class JobQuerySet(States):
    """Which jobs are due, and how far they are."""

    def scheduled_due(self, now: datetime) -> Self:
        """Scheduled for a moment that has come, by any amount. Oldest first."""
        return self.filter(status=self.model.Status.SCHEDULED, scheduled_for__lte=now).order_by("scheduled_for")

    def pending(self) -> Self:
        """Ready to be processed by whoever claims it. Oldest first."""
        return self.filter(status=self.model.Status.PENDING, archived=False).order_by("created_at")
