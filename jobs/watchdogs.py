"""What the periodic tasks do about jobs."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from jobs.models import Job


def run_scheduled_jobs(*, now: datetime, limit: int = 100) -> tuple[int, list[UUID]]:
    """Make scheduled jobs whose time has come pending, and name every pending job for a nudge.

    now: the moment to judge by (aware, UTC). limit: jobs per run.
    Returns how many became pending, and the keys of all pending jobs, oldest first: a lost nudge costs a minute.
    """
    with transaction.atomic():
        due = Job.objects.filter(pk__in=Job.objects.scheduled_due(now).claim(limit))
        started = due.move_to(Job.Status.PENDING, now=now, progressed_at=now)
    return started, list(Job.objects.pending().values_list("pk", flat=True)[:limit])
