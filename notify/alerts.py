"""Who is told: one open alert per (kind, scope), which counts, and which resolves itself when the condition is gone.

Verbs only open rows here; sending them on is a loop of its own, so an alert survives a mail outage. An ERROR in the
log means that a row in this table exists.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.db.models import F

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
        logger.error("Alert %s for %s: %s", kind, scope, message, extra={"kind": kind, "scope": scope})
    else:
        Alert.objects.open().filter(kind=kind, scope=scope).update(**seen)


def close_others(kind: str, keep: Iterable[str], *, now: datetime) -> int:
    """Resolve the open alerts of a kind whose scope is not among those still wrong. Returns how many."""
    return Alert.objects.open().filter(kind=kind).exclude(scope__in=list(keep)).update(resolved_at=now)


def close_alert(kind: str, scope: str, *, now: datetime) -> int:
    """Resolve the open alert whose cause is gone. Returns 1, or 0 when none was open."""
    return Alert.objects.open().filter(kind=kind, scope=scope).update(resolved_at=now)
