"""The shell around letters: reads the clock, calls the verb."""

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters import print_run, rendering, scanning, watchdogs


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


@shared_task(name="letters.collate_letter_pdfs_for_day")
def collate_letter_pdfs_for_day() -> dict[str, int]:
    """Hand the day's letters to the postal provider, where that is due, and read what it says of earlier ones."""
    counts: dict[str, int] = {}
    try:
        return print_run.tick(clock=timezone.now, counts=counts)
    finally:
        if counts.get("letters"):
            deliver_due_callbacks.nudge()
        if counts.get("unfinished"):
            collate_letter_pdfs_for_day.delay_on_commit()


@shared_task(name="letters.check_templated_letter_state")
def check_templated_letter_state() -> dict[str, int]:
    """Say which letters were not printed, and which failed and nobody has seen."""
    with transaction.atomic():
        return watchdogs.check_templated_letter_state(now=timezone.now())


@shared_task(name="letters.raise_alert_if_letter_notifications_still_sending")
def raise_alert_if_letter_notifications_still_sending() -> dict[str, int]:
    """Say which letters the postal provider took and never reported on."""
    with transaction.atomic():
        return {"found": watchdogs.check_still_sending(now=timezone.now())}


@shared_task(name="letters.check_print_files_acknowledged")
def check_print_files_acknowledged() -> dict[str, int]:
    """Say which zips the postal provider has not acknowledged."""
    with transaction.atomic():
        return {"found": watchdogs.check_print_files_acknowledged(now=timezone.now())}
