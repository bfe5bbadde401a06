"""What must always hold of sending and receipts."""

from datetime import datetime, timedelta

from notify.models import Alert, Notification
from providers import ranks
from providers.models import Receipt

OVERDUE = timedelta(hours=2)  # due for longer than this without an alert: nobody looks
CHECKED = 100_000  # newest receipts whose set is held against the status


def run(*, now: datetime) -> list[str]:
    """Return a sentence for each kind of message or receipt that is neither settled, due, in flight nor alerted."""
    broken = []
    overdue = Notification.objects.due(now).filter(due_at__lt=now - OVERDUE).count()
    if overdue and not Alert.objects.open().exists():
        broken.append(f"{overdue:,} messages are due for over two hours, and no alert is open.")
    held = Notification.objects.held_for_person().count()
    if held and not Alert.objects.open().filter(kind="outcome-unknown").exists():
        broken.append(f"{held:,} messages are held, and no alert names them.")
    unread = Receipt.objects.due(now - OVERDUE).count()
    if unread:
        broken.append(f"{unread:,} receipts are stored for over two hours and not applied.")
    return broken + _contradicted()


def _contradicted() -> list[str]:
    """Hold the newest messages' statuses against the set of their stored receipts."""
    stored: dict = {}
    receipts = Receipt.objects.filter(outcome="applied", notification_id__isnull=False).exclude(reported="")
    for key, reported in receipts.order_by("-id").values_list("notification_id", "reported")[:CHECKED]:
        stored.setdefault(key, []).append(reported)
    wrong = [
        f"Message {message.pk} is {message.status}, but its receipts say {ranks.verdict(message, stored[message.pk])}."
        for message in Notification.objects.filter(pk__in=list(stored)).defer("recipient", "personalisation")
        if ranks.verdict(message, stored[message.pk])
    ]
    return wrong[:20] + ([f"… and {len(wrong) - 20:,} more."] if len(wrong) > 20 else [])
