"""The shell around letters: reads the clock, calls the verb."""

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters import rendering, scanning, watchdogs


@shared_task(name="letters.render_letter_pdfs")
def render_letter_pdfs() -> dict[str, int]:
    """Make the PDFs of letters that have none, and wake the callbacks of those that cannot be printed."""
    handled = rendering.render_due(clock=timezone.now)
    if handled:
        deliver_due_callbacks.nudge()
    return {"handled": handled}


@shared_task(name="letters.scan_letters")
def scan_letters() -> dict[str, int]:
    """Scan precompiled letters for viruses and wake the callbacks this causes."""
    handled = scanning.scan_due(clock=timezone.now)
    if handled:
        deliver_due_callbacks.nudge()
    return {"handled": handled}


@shared_task(name="letters.check_precompiled_letter_state")
def check_precompiled_letter_state() -> dict[str, int]:
    """Say which letters have waited too long for their virus check."""
    with transaction.atomic():
        return {"found": watchdogs.check_precompiled_letter_state(now=timezone.now())}
