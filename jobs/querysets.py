"""Conditions on jobs, each written once."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from notify.models import Notification
from notify.states import States


class JobQuerySet(States):
    """Which jobs are due, stalled, short of rows, or past retention."""

    def scheduled_due(self, now: datetime) -> Self:
        """Scheduled for a moment that has come, by any amount. Oldest first."""
        return self.filter(status=self.model.Status.SCHEDULED, scheduled_for__lte=now).order_by("scheduled_for")

    def pending(self) -> Self:
        """Ready to be processed by whoever claims it. Oldest first."""
        return self.filter(status=self.model.Status.PENDING, archived=False).order_by("created_at")

    def stalled(self, now: datetime) -> Self:
        """Should be moving, but nothing happened for longer than JOB_STALLED_AFTER; jobs given up on left out.

        No upper age: a scheduler that slept for a day finds all of them. Oldest first.
        """
        overdue = self.filter(
            status__in=self.model.UNFINISHED, archived=False, progressed_at__lt=now - settings.JOB_STALLED_AFTER
        )
        return overdue.exclude(self._given_up()).order_by("progressed_at")

    def given_up(self) -> Self:
        """In error after JOB_RECOVERIES_LIMIT recoveries in vain: a person must look. Oldest first."""
        return self.filter(self._given_up(), archived=False).order_by("progressed_at")

    def recoverable(self) -> Self:
        """Set to error, and not yet recovered too often."""
        return self.filter(status=self.model.Status.ERROR, archived=False).exclude(self._given_up())

    def finished_uncounted(self) -> Self:
        """Finished, but not known to have all its notifications; archived ones are never looked at again."""
        return self.filter(status=self.model.Status.FINISHED, archived=False)

    def counted(self) -> Self:
        """With `made`: how many notifications the job has; a job with none at all has 0."""
        made = Notification.objects.filter(job=OuterRef("pk")).order_by().values("job").annotate(n=Count("pk"))
        return self.annotate(made=Coalesce(Subquery(made.values("n")), 0))

    def complete_uncounted(self) -> Self:
        """Finished, and all notifications are there. Oldest first."""
        every = self.finished_uncounted().counted().filter(made=F("notification_count"))
        return every.order_by("processing_finished")

    def incomplete(self, now: datetime) -> Self:
        """Finished for longer than JOB_MISSING_ROWS_AFTER and short of notifications, at any age. Oldest first."""
        limit = now - settings.JOB_MISSING_ROWS_AFTER
        settled = self.finished_uncounted().filter(processing_finished__lt=limit)
        return settled.counted().filter(made__lt=F("notification_count")).order_by("processing_finished")

    def missing_rows(self, now: datetime) -> Self:
        """Incomplete and repairable: younger than the shortest retention, not repaired three times in vain.

        Each try touches progressed_at, so the next one comes no sooner than JOB_MISSING_ROWS_AFTER after it.
        """
        rested = self.incomplete(now).aged().filter(progressed_at__lt=now - settings.JOB_MISSING_ROWS_AFTER)
        return rested.filter(
            aged_from__gt=now - settings.JOB_REPAIRED_FOR, recoveries__lt=settings.JOB_RECOVERIES_LIMIT
        )

    def beyond_repair(self, now: datetime) -> Self:
        """Incomplete, and either too old to be repaired by a rule or repaired three times in vain. Oldest first."""
        rested = self.incomplete(now).aged().filter(progressed_at__lt=now - settings.JOB_MISSING_ROWS_AFTER)
        return rested.filter(
            Q(aged_from__lte=now - settings.JOB_REPAIRED_FOR) | Q(recoveries__gte=settings.JOB_RECOVERIES_LIMIT)
        )

    def aged(self) -> Self:
        """With `aged_from`, the moment a job's age counts from: `scheduled_for`, else `created_at`."""
        return self.annotate(aged_from=Coalesce("scheduled_for", "created_at"))

    def archivable(self, now: datetime) -> Self:
        """Whose file nobody needs any more: final, given up, or finished and past the time of repairs. Oldest first."""
        past_repair = Q(status=self.model.Status.FINISHED, aged_from__lte=now - settings.JOB_REPAIRED_FOR)
        done = Q(status__in=self.model.FINAL) | self._given_up() | past_repair
        return self.aged().filter(done, archived=False).order_by("aged_from")

    def _given_up(self) -> Q:
        return Q(status=self.model.Status.ERROR, recoveries__gte=settings.JOB_RECOVERIES_LIMIT)


def missing_row_numbers(job_id: object, count: int) -> list[int]:
    """Return the zero-based numbers of the rows of a job that have no notification, in order."""
    numbers = Notification.objects.filter(job_id=job_id).values_list("job_row_number", flat=True)
    return sorted(set(range(count)) - set(numbers.iterator(chunk_size=20_000)))
