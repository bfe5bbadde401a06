"""The shell around sending and receipts: reads the clock, calls the verb."""

from celery import shared_task
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from notify.loops import in_slots, linger
from providers import receipts, sending
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
