"""What the periodic tasks do about messages that wait or are never heard of again."""

from datetime import datetime

from django.db import transaction
from django.db.models import Count, Min

from callbacks.outcomes import settle
from notify.alerts import close_alert, close_others, raise_alert
from notify.clock import zone
from notify.models import Notification, Service
from notify.states import Move
from providers import ranks
from providers.models import Pause, Provider
from providers.usable import Backends

BATCH = 5_000  # rows per statement
TIMED_OUT_PER_RUN = 100_000
WAITING, INACTIVE = "messages-waiting", "service-inactive"
Status = Notification.Status
# What our own time-out makes of a message that never got a final status.
TIMED_OUT = {
    Status.SENDING: Status.TEMPORARY_FAILURE,
    Status.PENDING: Status.TEMPORARY_FAILURE,
    Status.CREATED: Status.TECHNICAL_FAILURE,
}


def timeout_notifications(*, now: datetime, limit: int = TIMED_OUT_PER_RUN) -> int:
    """Give SMS and email without a final status for 72 hours one, with the callbacks this causes.

    now: the moment to judge by (aware, UTC). limit: rows per run; one that reached it is run again at once.
    In batches, each status with its own index; the condition is repeated in the UPDATE, so a receipt that comes
    between is never overwritten. Returns how many messages moved.
    """
    moved = 0
    for before, after in TIMED_OUT.items():
        while moved < limit:
            with transaction.atomic():
                batch = Notification.objects.timed_out(now, statuses=[before]).select_for_update(skip_locked=True)
                room = min(BATCH, limit - moved)
                keys = list(batch.values_list("pk", flat=True)[:room])
                fields = {"status_reason": ranks.TIMED_OUT, "due_at": None, "claimed_at": None}
                moved += len(settle([Move(key, after, fields, {"status": before}) for key in keys], now=now))
            if len(keys) < room:
                break
    return moved


def replay_created_notifications(*, now: datetime) -> int:
    """Say why messages wait for over an hour; the caller nudges the sending loop, which sends what it may, once.

    One alert per channel, with the reason; one for each service that is switched off while its messages wait.
    Returns how many messages wait.
    """
    waiting = Notification.objects.waiting_long(now).order_by()
    active = dict(
        (kind, (count, oldest))
        for kind, count, oldest in waiting.filter(service__active=True)
        .values_list("notification_type")
        .annotate(count=Count("pk"), oldest=Min("created_at"))
    )
    for kind in Notification.SENT_BY_LOOP:
        if kind in active:
            count, oldest = active[kind]
            since = oldest.astimezone(zone()).strftime("%d %b %Y, %H:%M %Z")
            raise_alert(
                WAITING, kind,
                f"{count:,} messages of type {kind} wait to be sent, the oldest since {since}: {_why(kind, now=now)}. "
                f"The sending loop was woken. See README, {WAITING}.", now=now,
            )  # fmt: skip
        else:
            close_alert(WAITING, kind, now=now)
    _tell_inactive(now=now)
    return sum(count for count, _ in active.values())


def _why(kind: str, *, now: datetime) -> str:
    """Say why messages of this channel wait."""
    if Pause.objects.on().exists():
        return "all sending is paused"
    if not Backends().able_each([kind])[kind]:
        return "no provider of that type is active with a share above 0 and can be used"
    if any(provider.is_held(now) for provider in Provider.objects.carrying(kind).defer("config")):
        return "a backlog, while shares are held by hand"
    return "a backlog, or providers that say “later”"


def _tell_inactive(*, now: datetime) -> None:
    """Keep one alert open for each service that is switched off and has messages waiting."""
    waiting = Notification.objects.to_send().filter(service__active=False).order_by()
    counts = dict(waiting.values_list("service").annotate(Count("pk")))
    services = {f"service {row.pk}": (row, counts[row.pk]) for row in Service.objects.filter(pk__in=list(counts))}
    for scope, (service, count) in services.items():
        raise_alert(
            INACTIVE, scope,
            f"{service} is switched off and {count:,} of its messages wait. Switch it on to send them, or cancel its "
            f"jobs. See README, {INACTIVE}.", now=now,
        )  # fmt: skip
    close_others(INACTIVE, services, now=now)
