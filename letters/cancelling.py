"""Taking letters back: only until they are put into a print file, and each either cancelled or printed, never both."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from callbacks.outcomes import settle
from letters.models import Letter, PrintRun
from notify.clock import local_date, print_deadline
from notify.models import Notification
from notify.states import Move


def lock_unprinted(keys: Sequence[UUID]) -> list[UUID]:
    """Lock the letters of these notifications, inside atomic(); leave out those a print run has taken.

    The print run locks a letter in the same way before it puts it into a file, so whoever is first decides. Other
    notifications are returned as they are.
    """
    letters = Letter.objects.filter(pk__in=keys).order_by("pk").select_for_update(of=("self",))
    run_of = dict(letters.values_list("pk", "print_run_id"))
    return [key for key in keys if run_of.get(key) is None]


def cancel_letters(keys: Sequence[UUID], *, now: datetime) -> list[UUID]:
    """Cancel letters that are created, in no print file and before the deadline of their print run.

    A letter made before a deadline that has passed belongs to that day's run, until the run is finished; what it left
    behind (no PDF yet, say) may be cancelled again. A held service's letters may always be cancelled.
    now: aware UTC. Returns those that were cancelled; the others stay as they are.
    """
    deadline = print_deadline(local_date(now))
    passed = now >= deadline and not PrintRun.objects.filter(day=local_date(now), finished_at__isnull=False).exists()
    open_still = Q(created_at__gte=deadline) | Q(service__letter_hold__isnull=False) if passed else Q()
    with transaction.atomic():
        unprinted = lock_unprinted(keys)
        waiting = Notification.objects.filter(open_still, pk__in=unprinted, status=Notification.Status.CREATED)
        moves = [
            Move(pk, Notification.Status.CANCELLED, {"due_at": None}, {"status": Notification.Status.CREATED})
            for pk in waiting.values_list("pk", flat=True)
        ]
        cancelled = list(settle(moves, now=now))
        Letter.objects.filter(pk__in=cancelled).update(due_at=None)  # nothing is left to be rendered
    return cancelled
