"""Who is told: one open alert per (kind, scope), which counts, and which resolves itself when the condition is gone.

Verbs only open rows here; sending them on (telling.py) is a loop of its own, so an alert survives a mail outage. An
ERROR in the log means that a row in this table exists.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from notify.models import Alert

logger = logging.getLogger(__name__)


def raise_alert(kind: str, scope: str, message: str, *, now: datetime) -> None:
    """Open an alert, or count once more on the one that is open.

    kind: kebab noun phrase, the README's runbook anchor. scope: what it is about, by key, never by personal data.
    message: what was seen, what was done, what a person should do. now: aware UTC.
    """
    seen = {"times_seen": F("times_seen") + 1, "last_seen_at": now, "message": message}
    if Alert.objects.open().filter(kind=kind, scope=scope).update(**seen):
        return
    alert = Alert(kind=kind, scope=scope, message=message, first_seen_at=now, last_seen_at=now)
    # A second caller at the same moment meets the partial unique constraint and counts instead.
    made = Alert.objects.bulk_create([alert], ignore_conflicts=True)
    if made and Alert.objects.filter(pk=alert.pk).exists():
        transaction.on_commit(lambda: _log(alert))  # what is taken back is not said
    else:
        Alert.objects.open().filter(kind=kind, scope=scope).update(**seen)


def close_others(kind: str, keep: Iterable[str], *, now: datetime) -> int:
    """Resolve the open alerts of a kind whose scope is not among those still wrong. Returns how many."""
    return Alert.objects.open().filter(kind=kind).exclude(scope__in=list(keep)).update(resolved_at=now)


def close_gone(kind: str, still_wrong: Callable[[], Iterable[str]], *, now: datetime) -> int:
    """Resolve the open alerts of a kind whose scope is no longer wrong, judged once they are locked. Returns how many.

    For what others raise the moment it happens: whoever raised one of these before has committed its cause, which the
    judgement sees; whoever does it meanwhile waits, and opens a new one. One opened after the lock is left alone.
    """
    with transaction.atomic():
        found = Alert.objects.open().filter(kind=kind).order_by("scope").select_for_update()
        locked = dict(found.values_list("pk", "scope"))
        if not locked:
            return 0
        wrong = set(still_wrong())
        gone = [pk for pk, scope in locked.items() if scope not in wrong]
        return Alert.objects.open().filter(pk__in=gone).update(resolved_at=now)


def close_quiet(kind: str, *, before: datetime, now: datetime) -> int:
    """Resolve the open alerts of a kind that nothing was added to since a moment. Returns how many."""
    return len(_change(Alert.objects.open().filter(kind=kind, last_seen_at__lt=before), resolved_at=now))


def close_alert(kind: str, scope: str, *, now: datetime) -> int:
    """Resolve the open alert whose cause is gone. Returns 1, or 0 when none was open."""
    return Alert.objects.open().filter(kind=kind, scope=scope).update(resolved_at=now)


def state_of(alert: Alert, now: datetime) -> str:
    """Return `resolved`, `snoozed`, `acknowledged` or `open`, in this order of weight."""
    if alert.resolved_at:
        return "resolved"
    if alert.snoozed_until and alert.snoozed_until > now:
        return "snoozed"
    return "acknowledged" if alert.acknowledged_at else "open"


def resolve(keys: Iterable[UUID], *, now: datetime) -> list[Alert]:
    """Close these by hand: a new occurrence opens, and tells, a new one. Returns those it changed: open ones."""
    return _change(Alert.objects.open().filter(pk__in=keys), resolved_at=now)


def acknowledge(keys: Iterable[UUID], *, now: datetime) -> list[Alert]:
    """Note that a person is on these. Returns those it changed: open ones that nobody had acknowledged."""
    return _change(Alert.objects.open().filter(pk__in=keys, acknowledged_at__isnull=True), acknowledged_at=now)


def snooze(keys: Iterable[UUID], *, until: datetime) -> list[Alert]:
    """Put these off until a moment (aware UTC). Returns those it changed: open ones not put off to it already."""
    other = Q(snoozed_until__isnull=True) | ~Q(snoozed_until=until)
    return _change(Alert.objects.open().filter(other, pk__in=keys), snoozed_until=until)


def unsnooze(keys: Iterable[UUID], *, now: datetime) -> list[Alert]:
    """Put these off no longer. Returns those it changed: open ones whose time had not come yet."""
    return _change(Alert.objects.snoozed(now).filter(pk__in=keys), snoozed_until=None)


def _change(rows: QuerySet[Alert], **fields: datetime | None) -> list[Alert]:
    """Write the fields of the rows that still match once they are locked. Returns these."""
    with transaction.atomic():
        found = list(rows.order_by("kind", "scope").select_for_update())
        rows.filter(pk__in=[alert.pk for alert in found]).update(**fields)
    return found


def _log(alert: Alert) -> None:
    kind, scope = alert.kind, alert.scope
    logger.error("Alert %s for %s: %s", kind, scope, alert.message, extra={"kind": kind, "scope": scope})
