"""The one switch that stops all sending. Nothing is lost: what is due stays due."""

from datetime import datetime
from typing import Any

from django.db import transaction

from notify.alerts import close_alert, raise_alert
from notify.models import Notification
from providers.models import Pause

KIND, SCOPE = "sending-paused", "all"


def pause_sending(*, reason: str, by: Any = None, now: datetime) -> bool:
    """Stop all sending and open an alert. Returns False when it was paused already.

    What is on the wire is finished; every loop looks again before it claims more. Whoever comes while somebody else
    resumes waits for that, so that nobody is told "paused already" of a pause that is just ending.
    """
    with transaction.atomic():
        if list(Pause.objects.on().select_for_update()):
            return False
        pause = Pause(paused_at=now, reason=reason[:300], paused_by=by)
        Pause.objects.bulk_create([pause], ignore_conflicts=True)  # of two at once one wins
        if not Pause.objects.on().filter(paused_at=now, paused_by=by, reason=pause.reason).exists():
            return False
        raise_alert(
            KIND, SCOPE,
            f"All sending is paused: {reason[:200]}. Messages and jobs are kept and go out when it is resumed in the "
            f"admin, Pauses. See README, {KIND}.", now=now,
        )  # fmt: skip
    return True


def resume_sending(*, by: Any = None, now: datetime, only: int | None = None) -> bool:
    """Start sending again and close the alert. The caller nudges the loop. Returns False when it was not paused.

    only: key of the pause that the person saw; a later one, begun by somebody else, stays on.
    """
    with transaction.atomic():
        on = Pause.objects.on() if only is None else Pause.objects.on().filter(pk=only)
        ended = on.update(ended_at=now, ended_by=by)
        if ended:  # else the alert may belong to a pause that begins at this moment
            close_alert(KIND, SCOPE, now=now)
            # The hours of “try later” count anew: while paused nothing was tried.
            waiting = Notification.objects.to_send().filter(claimed_at__isnull=True, first_attempt_at__isnull=False)
            waiting.update(first_attempt_at=None)
    return bool(ended)
