"""Taking letters back: only until they are put into a print file, and each either cancelled or printed, never both."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from callbacks.outcomes import settle
from letters.models import Letter, PrintRun
from notify.clock import local_date, print_deadline
from notify.models import Notification
from notify.states import Move

Status = Notification.Status


def lock_unprinted(keys: Sequence[UUID]) -> list[UUID]:
    """Lock the letters of these notifications, inside atomic(); leave out those a print run has taken.

    The print run locks a letter in the same way before it puts it into a file, so whoever is first decides. Other
    notifications are returned as they are.
    """
    letters = Letter.objects.filter(pk__in=keys).order_by("pk").select_for_update(of=("self",))
    run_of = dict(letters.values_list("pk", "print_run_id"))
    return [key for key in keys if run_of.get(key) is None]


def cancel_letters(keys: Sequence[UUID], *, now: datetime) -> list[UUID]:
    """Cancel letters that nobody prints: created, in no print file and before the deadline of their print run.

    A letter made before a deadline that has passed belongs to that day's run, until the run is finished; what it left
    behind (no PDF yet, say) may be cancelled again. One that waits for its virus check, and a held service's, may
    always be cancelled. now: aware UTC. Returns those that were cancelled; the others stay as they are.
    """
    with transaction.atomic():
        unprinted = lock_unprinted(keys)
        created = Q(status=Status.CREATED) & _open_still(now)
        waiting = Notification.objects.filter(created | Q(status=Status.PENDING_VIRUS_CHECK), pk__in=unprinted)
        before = dict(waiting.values_list("pk", "status"))
        moves = [Move(pk, Status.CANCELLED, {"due_at": None}, {"status": status}) for pk, status in before.items()]
        cancelled = list(settle(moves, now=now))
        unscanned = [pk for pk in cancelled if before[pk] == Status.PENDING_VIRUS_CHECK]
        letters = Letter.objects.filter(pk__in=cancelled)
        letters.exclude(pk__in=unscanned).update(due_at=None)  # nothing is left to be rendered
        # The scanning loop removes their files; one that is being scanned just now is claimed again after its lease.
        letters.filter(pk__in=unscanned, claimed_at__isnull=True).update(due_at=now)
    return cancelled


def _open_still(now: datetime) -> Q:
    """Leave out what belongs to the newest run whose deadline has passed, on whatever day, and that is not finished."""
    today = local_date(now)
    day = today if now >= print_deadline(today) else today - timedelta(days=1)
    if PrintRun.objects.filter(day=day, finished_at__isnull=False).exists():
        return Q()
    return Q(created_at__gte=print_deadline(day)) | Q(service__letter_hold__isnull=False)
