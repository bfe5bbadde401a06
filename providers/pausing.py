"""The one switch that stops all sending. Nothing is lost: what is due stays due."""

from datetime import datetime
from typing import Any

from notify.alerts import close_alert, raise_alert
from providers.models import Pause

KIND, SCOPE = "sending-paused", "all"


def pause_sending(*, reason: str, by: Any = None, now: datetime) -> bool:
    """Stop all sending and open an alert. Returns False when it was paused already.

    What is on the wire is finished; every loop looks again before it claims more.
    """
    if Pause.objects.on().exists():
        return False
    pause = Pause(paused_at=now, reason=reason[:300], paused_by=by)
    Pause.objects.bulk_create([pause], ignore_conflicts=True)  # of two at once one wins
    raise_alert(
        KIND, SCOPE,
        f"All sending is paused: {reason[:200]}. Messages and jobs are kept and go out when it is resumed in the "
        f"admin, Pauses. See README, {KIND}.", now=now,
    )  # fmt: skip
    return Pause.objects.on().filter(paused_at=now, paused_by=by).exists()


def resume_sending(*, by: Any = None, now: datetime) -> bool:
    """Start sending again and close the alert. The caller nudges the loop. Returns False when it was not paused."""
    ended = Pause.objects.on().update(ended_at=now, ended_by=by)
    close_alert(KIND, SCOPE, now=now)
    return bool(ended)
