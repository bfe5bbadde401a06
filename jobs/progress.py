"""How far a job is: its rows that have become messages, and where those stand."""

from dataclasses import dataclass

from django.db.models import Count

from jobs.models import Job
from notify.models import Notification


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a job. counts: messages by status, in the order of a message's life; none without any message."""

    job: Job
    counts: dict[str, int]

    @property
    def created(self) -> int:
        """Rows that have become messages."""
        return sum(self.counts.values())

    @property
    def on_their_way(self) -> int:
        """Messages without a final status."""
        return sum(count for status, count in self.counts.items() if status not in Notification.FINAL)

    @property
    def missing(self) -> int:
        """Rows that have not become messages yet."""
        return max(0, self.job.notification_count - self.created)

    @property
    def waiting(self) -> int:
        """Messages that have not been handed to a provider."""
        return self.counts.get(Notification.Status.CREATED, 0)

    @property
    def done(self) -> bool:
        """True when nothing more will happen by itself."""
        return self.job.status in Job.FINAL and not self.on_their_way


def progress_of(job: Job) -> Progress:
    """Count a job's messages by status, in one query."""
    found = dict(job.notifications.order_by().values_list("status").annotate(Count("pk")))
    return Progress(job, {status.value: found[status] for status in Notification.Status if status in found})
