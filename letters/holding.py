"""Keeping a service's letters out of the print run by hand, until somebody releases them; no letter is lost by it."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Min

from letters.models import Letter, LetterHold
from notify.alerts import close_alert, close_others, raise_alert
from notify.clock import newest_print_day, print_deadline, zone
from notify.models import Alert, Service

HELD = "letters-held"


def hold_letters(service: Service, reason: str, *, by: Any, now: datetime) -> tuple[LetterHold, bool]:
    """Keep a service's letters back from now on; a zip that is packed already goes.

    by: the person, or None. Two people at once make one hold: the first one's reason stays. Returns the hold, and
    whether it is new.
    """
    values = {"reason": reason, "held_by": by, "created_at": now}
    return LetterHold.objects.get_or_create(service=service, defaults=values)


def release_letters(service: Service, *, now: datetime) -> bool:
    """Let a service's letters go with the next print run, whatever their age. Returns False where none was held."""
    with transaction.atomic():
        released = LetterHold.objects.filter(service=service).delete()[0]
        close_alert(HELD, _scope(service.pk), now=now)
    return bool(released)


def tell_held(*, now: datetime) -> int:
    """Keep an alert open for each service whose letters missed a print run because they are held.

    now: aware UTC. Raised when first seen and when the number changed, not at every look. Returns how many wait.
    """
    waiting = Letter.objects.held_past(print_deadline(newest_print_day(now))).order_by()
    found = waiting.values_list(
        "notification__service", "notification__service__name", "notification__service__letter_hold__reason"
    ).annotate(count=Count("pk"), oldest=Min("notification__created_at"))
    rows = {_scope(pk): (name, reason, count, oldest) for pk, name, reason, count, oldest in found}
    close_others(HELD, rows, now=now)
    told = dict(Alert.objects.open().filter(kind=HELD).values_list("scope", "message"))
    for scope, (name, reason, count, oldest) in rows.items():
        since = oldest.astimezone(zone()).strftime("%d %b %Y, %H:%M %Z")
        words = (
            f"{count:,} {'letter' if count == 1 else 'letters'} of {name} missed the print run, the oldest from "
            f"{since}, because they are held by hand ({reason}). Their PDFs lie in the storage letters-pdf. Release "
            f"the hold in the admin, “Letter holds”, or cancel them. See README, {HELD}."
        )
        if told.get(scope) != words:
            raise_alert(HELD, scope, words, now=now)
    return sum(count for _, _, count, _ in rows.values())


def _scope(service: Any) -> str:
    return f"service {service}"
