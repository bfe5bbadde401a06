"""What the periodic tasks do about letters. Watchdogs write rows only."""

from datetime import datetime

from django.conf import settings

from letters import files
from letters.models import Letter
from notify.admin_base import local_time
from notify.alerts import close_alert, raise_alert


def check_precompiled_letter_state(*, now: datetime) -> int:
    """Keep an alert open while letters wait for their virus check for longer than LETTER_SCAN_AFTER.

    now: the moment to judge by (aware, UTC). Returns how many wait. They are not repaired here: the scanning loop
    tries them all the time, so what holds them up is for a person.
    """
    kind, scope = "letters-pending-virus-check", "letters"
    waiting = Letter.objects.unscanned_long(now).select_related("notification")
    oldest, count = waiting.first(), waiting.count()
    if oldest is None:
        close_alert(kind, scope, now=now)
        return 0
    minutes = settings.LETTER_SCAN_AFTER.total_seconds() // 60
    letters = "1 letter has" if count == 1 else f"{count:,} letters have"
    raise_alert(
        kind,
        scope,
        f"{letters} been waiting for the virus check for over {minutes:.0f} minutes; the oldest is {oldest.pk}, made "
        f"{local_time(oldest.notification.created_at)} (last problem: {oldest.last_error or 'none noted'}). Their "
        f"files lie in the storage {files.SCAN}; they are tried again by themselves and were left as they are. See "
        f"that clamd runs, CLAMD_SOCKET names it and a worker reads the queue letters. See README, {kind}.",
        now=now,
    )
    return count
