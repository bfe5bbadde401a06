"""Every condition about letters, once. `now` is always aware UTC and never read in here."""

from datetime import datetime
from typing import Self

from django.conf import settings
from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact

from notify.models import Notification

RENDERED_IN_VAIN = 3  # tries
# Says `created` in a way no index of messages answers, so that each letter looks up its own message by its key. Where
# the planner last looked when no letter waited, it would go through all created messages anew for each letter.
_CREATED = Exact(Lower("notification__status"), Value(Notification.Status.CREATED.value))


class LetterQuerySet(QuerySet):
    """Letters, by what is to be done with them."""

    def ready(self, *, counted: bool = False) -> Self:
        """Has a PDF that may be printed: made from a template, or found clean in the very bytes that lie there.

        counted: the planner has just counted the rows (see letters/print_run.py), so that it may go by the status.
        """
        created = Q(notification__status=Notification.Status.CREATED) if counted else _CREATED
        made = Q(kind="templated") | Q(scan_verdict="clean", scanned_sha256=F("sha256"))
        return self.filter(made, created).exclude(Q(pdf="") | Q(sha256=""))

    def due(self, kind: str, now: datetime) -> Self:
        """Letters of this kind with work left for their loop (rendering, scanning), due now; oldest due first."""
        return self.filter(kind=kind, due_at__lte=now).order_by("due_at")

    def renderable(self, now: datetime) -> Self:
        """Made from a template, without PDF, not cancelled meanwhile, and due; oldest due first."""
        return self.due("templated", now).filter(_CREATED)

    def not_worth_rendering(self, now: datetime) -> Self:
        """Due to be rendered although their messages have left `created`: cancelled before they had a PDF."""
        return self.due("templated", now).exclude(notification__status=Notification.Status.CREATED)

    def rendered_in_vain(self, now: datetime) -> Self:
        """Tried three times or more, and still without PDF: a storage failed, or their workers died."""
        waiting = self.filter(kind="templated", due_at__isnull=False, attempts__gte=RENDERED_IN_VAIN)
        between = Q(claimed_at__isnull=True) | Q(due_at__lte=now)  # else somebody is at it just now
        return waiting.filter(between, _CREATED).order_by("due_at")

    def unscanned(self) -> Self:
        """Waiting for the virus check: nobody may print them yet."""
        return self.filter(kind="precompiled", notification__status=Notification.Status.PENDING_VIRUS_CHECK)

    def to_scan(self) -> Self:
        """Waiting for the virus check, or refused while nobody could say what the file holds."""
        status = Notification.Status
        wanted = (status.PENDING_VIRUS_CHECK, status.VALIDATION_FAILED)
        return self.filter(kind="precompiled", due_at__isnull=False, notification__status__in=wanted)

    def unscanned_long(self, now: datetime) -> Self:
        """Waiting for the virus check, made longer than LETTER_SCAN_AFTER ago. Oldest first."""
        limit = now - settings.LETTER_SCAN_AFTER
        waiting = self.filter(notification__status=Notification.Status.PENDING_VIRUS_CHECK)
        return waiting.filter(notification__created_at__lt=limit).order_by("notification__created_at")

    def unprinted(self) -> Self:
        """In no print file: nobody prints it yet, and it may still be taken back."""
        return self.filter(print_file__isnull=True)

    def before_run(self, deadline: datetime) -> Self:
        """Of services that send, not held, made before the deadline and in no print file; ready or not."""
        service = {"notification__service__active": True, "notification__service__letter_hold__isnull": True}
        return self.unprinted().filter(notification__created_at__lt=deadline, **service)

    def printable(self, deadline: datetime, *, counted: bool = False) -> Self:
        """What a print run with this deadline takes, however old. counted: as `ready`."""
        return self.ready(counted=counted).before_run(deadline)

    def held_past(self, deadline: datetime) -> Self:
        """Ready letters that only a hold of their service kept out of a print run with this deadline."""
        held = {"notification__service__letter_hold__isnull": False, "notification__created_at__lt": deadline}
        return self.ready().unprinted().filter(**held)

    def unreadable(self) -> Self:
        """Left out of a print run because their PDF could not be read, and waiting for the next; in order of age."""
        return self.filter(_CREATED, unreadable_at__isnull=False).order_by("pk")

    def failed_unseen(self) -> Self:
        """In technical-failure, and no person has said that they saw it."""
        failed = Notification.Status.TECHNICAL_FAILURE
        return self.filter(notification__status=failed, failure_seen_at__isnull=True)


class PrintFileQuerySet(QuerySet):
    """Zips for the postal provider."""

    def unacknowledged(self) -> Self:
        """Uploaded for a provider that acknowledges zips, which has not; oldest first."""
        waiting = self.filter(uploaded_at__isnull=False, acknowledged_at__isnull=True, acknowledgeable=True)
        return waiting.order_by("uploaded_at")

    def removable(self, now: datetime) -> Self:
        """Acknowledged for longer than LETTER_ZIPS_KEPT_FOR, and not removed yet; oldest first. Few: no index."""
        limit = now - settings.LETTER_ZIPS_KEPT_FOR
        kept = self.filter(uploaded_at__isnull=False, acknowledged_at__lt=limit, removed_at__isnull=True)
        return kept.order_by("acknowledged_at", "pk")
