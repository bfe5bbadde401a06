"""Taking a job back: what was not yet claimed by a sender or put into a print file is cancelled with it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from callbacks.outcomes import settle
from jobs.models import Job
from letters.cancelling import lock_unprinted
from notify.models import Notification
from notify.states import Move

BATCH = 5_000  # rows per transaction


def cancel_job(pk: UUID, *, now: datetime) -> int | None:
    """Cancel a job and its notifications that nobody has begun to send.

    now: aware UTC. Returns how many notifications were cancelled; None when the job can no longer be cancelled
    (over its limit, or cancelled already). Cut off half-way, it can be repeated: see `cancel_notifications`.
    """
    if not Job.objects.filter(pk=pk).move_to(Job.Status.CANCELLED, now=now, progressed_at=now):
        return None
    return cancel_notifications(pk, now=now)


def cancel_notifications(pk: UUID, *, now: datetime) -> int:
    """Cancel the notifications of a cancelled job that are created, not claimed and not in a print file."""
    cancelled = 0
    waiting = Notification.objects.filter(
        Q(letter__isnull=True) | Q(letter__print_run__isnull=True),
        job_id=pk,
        job__status=Job.Status.CANCELLED,
        status=Notification.Status.CREATED,
        claimed_at__isnull=True,
    )
    while True:
        with transaction.atomic():
            keys = list(waiting.order_by("pk").values_list("pk", flat=True)[:BATCH])
            free = lock_unprinted(keys)  # a print run that takes a letter meanwhile waits for this, or was first
            unclaimed = {"claimed_at": None}
            moves = [Move(key, Notification.Status.CANCELLED, {"due_at": None}, unclaimed) for key in free]
            cancelled += len(settle(moves, now=now))
        if len(keys) < BATCH:
            return cancelled
