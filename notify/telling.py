"""Alerts leave: open ones are told by email and webhook, each by itself, until somebody was told.

Claim with a lease, commit, call, write the result; the row holds tries, due time and result of each channel. An alert
is told once by each channel, with one exception: a process that dies between sending and writing leaves a try nobody
knows the outcome of. It is told again after ALERT_LEASE, ALERT_LAPSES_LIMIT times in all at most; a repeat has the
same Message-ID. A receiver that takes an alert and does not answer in time is asked again, ever more slowly.
"""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from notify.celery import stopping
from notify.loops import Due, refuse_transaction, slot
from notify.models import Alert
from notify.telling_channels import CHANNELS, Answer
from notify.telling_words import words_of

logger = logging.getLogger(__name__)
LOOP = "notify.send_alerts"
IN_VAIN = 2  # tries in a row; then the receiver counts as away, and the other alerts wait for the next run
STEPS = 4  # doublings of ALERT_RETRY_AFTER
RETRY_AFTER_LIMIT = timedelta(hours=1)  # of what a receiver may ask for


def why_not() -> str:
    """Return the sentence that says why no alert leaves here; "" where they do."""
    if not settings.ALERTS_ENABLED:
        return (
            "Alerts are off here, stored and logged only. They leave where NOTIFY_ENVIRONMENT is live or production "
            f"(here it is {settings.NOTIFY_ENVIRONMENT!r}) unless ALERTS_ENABLED is 0, and anywhere where it is 1."
        )
    return "" if channels() else "Nobody is told: set ALERT_EMAILS or ALERT_WEBHOOK_URL."


def channels() -> list[str]:
    """Return the channels that are set up, in the order they are used."""
    set_up = {"webhook": settings.ALERT_WEBHOOK_URL, "email": settings.ALERT_EMAILS}
    return [channel for channel in CHANNELS if set_up[channel]]


def send_alerts(*, now: datetime) -> dict[str, int]:
    """Tell what is due; a channel that is away does not stop the other. Returns how many were told and how many not.

    now: the moment to judge by (aware, UTC). Never inside a transaction. Needs neither broker nor worker.
    """
    refuse_transaction()
    counts = {"told": 0, "failed": 0}
    if why_not():
        return counts
    each = settings.LOOP_FOR.total_seconds() / len(channels())  # so that a slow one leaves time for the other
    for channel in channels():
        with slot(f"{LOOP} {channel}") as mine:
            for answer in _tell_due(channel, time.monotonic() + each, now=now) if mine else ():
                counts["told" if answer.told else "failed"] += 1
    _log_untold(now=now)
    return counts


def claim(channel: str, *, now: datetime, only: UUID | None = None) -> Alert | None:
    """Claim the next alert for a channel and commit; None when none is due. only: no other than this one."""
    rows = Alert.objects.untold(channel, now)
    with transaction.atomic():
        due = (rows.filter(pk=only) if only else rows).select_for_update(skip_locked=True).first()
        if due is None:
            return None
        lapsed = getattr(due, f"{channel}_claimed_at") is not None  # somebody began, and its lease ran out
        rows.filter(pk=due.pk).update(
            **{
                f"{channel}_lapses": F(f"{channel}_lapses") + int(lapsed),
                f"{channel}_attempts": F(f"{channel}_attempts") + 1,
                f"{channel}_due_at": now + settings.ALERT_LEASE,
                f"{channel}_claimed_at": now,
            }
        )
        return Alert.objects.get(pk=due.pk)


def tell(channel: str, alert: Alert, *, now: datetime) -> Answer:
    """Send a claimed alert and write what became of it; a claim that was lost meanwhile changes nothing."""
    try:
        answer = CHANNELS[channel](words_of(alert))
    except Exception as error:  # one that cannot be told does not stop the others
        logger.exception("An alert could not be told by %s", channel, extra={"alert_id": str(alert.pk)})
        answer = Answer(type(error).__name__)
    attempts, claimed_at = getattr(alert, f"{channel}_attempts"), getattr(alert, f"{channel}_claimed_at")
    mine = Alert.objects.filter(pk=alert.pk, **{f"{channel}_attempts": attempts, f"{channel}_claimed_at": claimed_at})
    fields = {"claimed_at": None, "error": answer.error[:200], "told_at": now if answer.told else None}
    fields["due_at"] = None if answer.told else now + _wait(attempts, answer)
    mine.update(**{f"{channel}_{name}": value for name, value in fields.items()})
    return answer


def due(*, now: datetime) -> Due:
    """Say which alerts would be told now; none where alerts are off."""
    told_by = [] if why_not() else channels()
    keys = {key for channel in told_by for key in Alert.objects.untold(channel, now).values_list("pk", flat=True)}
    return Due.of(Alert.objects.filter(pk__in=keys), "first_seen_at")


def _tell_due(channel: str, until: float, *, now: datetime) -> Iterator[Answer]:
    """Tell one alert after the other until none is due, time is up, or the receiver is away."""
    in_vain = 0
    while in_vain < IN_VAIN and time.monotonic() < until and not stopping():
        alert = claim(channel, now=now)
        if alert is None:
            return
        answer = tell(channel, alert, now=now)
        in_vain = 0 if answer.told else in_vain + 1
        if not answer.told:
            logger.warning("An alert was not told by %s: %s", channel, answer.error, extra={"alert_id": str(alert.pk)})
        yield answer


def _wait(attempts: int, answer: Answer) -> timedelta:
    asked = min(timedelta(seconds=answer.retry_after), RETRY_AFTER_LIMIT)
    return max(settings.ALERT_RETRY_AFTER * 2 ** min(attempts - 1, STEPS), asked)


def _log_untold(*, now: datetime) -> None:
    """Say once of each alert that it could not be told for too long."""
    for alert in Alert.objects.untold_long(channels(), now).filter(untold_logged_at__isnull=True):
        if Alert.objects.filter(pk=alert.pk, untold_logged_at__isnull=True).update(untold_logged_at=now):
            missing = [channel for channel in channels() if getattr(alert, f"{channel}_told_at") is None]
            why = ", ".join(f"{channel} ({getattr(alert, f'{channel}_error') or 'never tried'})" for channel in missing)
            logger.error(
                "Alert %s for %s could not be told by %s; see its page", alert.kind, alert.scope, why,
                extra={"kind": alert.kind, "scope": alert.scope},
            )  # fmt: skip
