"""The shell around callbacks."""

from celery import shared_task

from callbacks import delivery


@shared_task(name="callbacks.deliver_due_callbacks")
def deliver_due_callbacks() -> dict[str, int]:
    """Deliver callbacks that are due."""
    return {"handled": delivery.deliver_due()}
