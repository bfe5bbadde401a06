"""The shell around sending and receipts: reads the clock, calls the verb."""

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from notify.loops import in_slots, linger
from providers import receipts, sending, switching, watchdogs
from providers.models import Receipt


@shared_task(name="providers.send_due_notifications")
def send_due_notifications() -> dict[str, int]:
    """Send SMS and email that are due."""
    sent = sending.send_due(now=timezone.now())
    return {"sent": sent}


@shared_task(name="providers.apply_receipts")
def apply_receipts() -> dict[str, int]:
    """Apply stored receipts and wake the callbacks they caused."""

    def step() -> int:
        applied = receipts.apply_batch(now=timezone.now())
        if applied:
            deliver_due_callbacks.nudge()
        return applied

    applied = in_slots(
        "providers.apply_receipts",
        lambda until: linger(step, until=until),
        waiting=lambda: Receipt.objects.due(timezone.now()).exists(),
    )
    return {"applied": applied}


@shared_task(name="providers.switch_current_sms_provider_on_slow_delivery")
def switch_current_sms_provider_on_slow_delivery() -> dict[str, int]:
    """Move SMS traffic away from a slow provider."""
    with transaction.atomic():
        return switching.switch_on_slow_delivery(now=timezone.now())


@shared_task(name="providers.tend_providers_back_to_middle")
def tend_providers_back_to_middle() -> dict[str, int]:
    """Move shares towards where they rest."""
    with transaction.atomic():
        return {"repaired": switching.tend_to_middle(now=timezone.now())}


@shared_task(name="providers.timeout_notifications")
def timeout_notifications() -> dict[str, int]:
    """Give messages that are never heard of again a final status."""
    with transaction.atomic():
        moved = watchdogs.timeout_notifications(now=timezone.now())
        if moved:
            deliver_due_callbacks.nudge()
        if moved >= watchdogs.TIMED_OUT_PER_RUN:
            timeout_notifications.delay_on_commit()
    return {"repaired": moved}


@shared_task(name="providers.replay_created_notifications")
def replay_created_notifications() -> dict[str, int]:
    """Say why messages wait, and wake the loop that sends them."""
    with transaction.atomic():
        waiting = watchdogs.replay_created_notifications(now=timezone.now())
        if waiting:
            send_due_notifications.delay_on_commit()
    return {"found": waiting}
