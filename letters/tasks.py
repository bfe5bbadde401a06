"""The shell around letters: reads the clock, calls the verb."""

from celery import shared_task
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters import rendering


@shared_task(name="letters.render_letter_pdfs")
def render_letter_pdfs() -> dict[str, int]:
    """Make the PDFs of letters that have none, and wake the callbacks of those that cannot be printed."""
    handled = rendering.render_due(clock=timezone.now)
    if handled:
        deliver_due_callbacks.nudge()
    return {"handled": handled}
