"""What must always hold of callbacks."""

from datetime import datetime

from django.db import connection

from callbacks.models import Callback
from callbacks.retention import KEPT_FOR
from notify.models import Alert, Notification

# A final status reached since the endpoint's first callback, and no callback for it. A message made longer ago than
# finished callbacks are kept says nothing: its callback may be gone while the message is kept for up to ninety days.
# When it reached its status would say less: updated_at moves again when the same status is reported again.
_UNTOLD = """
    SELECT count(*) FROM callbacks_endpoint e
    JOIN notify_notification n ON n.service_id = e.service_id
    WHERE e.active AND n.status = ANY(%(final)s)
    AND n.created_at >= %(kept_since)s
    AND coalesce(n.updated_at, n.created_at) >= (
        SELECT min(k.created_at) FROM callbacks_callback k WHERE k.endpoint_id = e.id)
    AND NOT EXISTS (
        SELECT 1 FROM callbacks_callback c WHERE c.notification_id = n.id AND c.notification_status = n.status)
"""


def run(*, now: datetime) -> list[str]:
    """Return a sentence for each kind of callback that is missing, or given up without an alert."""
    with connection.cursor() as cursor:
        final = [str(status) for status in Notification.FINAL]
        cursor.execute(_UNTOLD, {"final": final, "kept_since": now - KEPT_FOR})
        untold = cursor.fetchone()[0]
    broken = [f"{untold:,} messages reached a final status without a callback."] if untold else []
    exhausted = Callback.objects.in_status(Callback.Status.EXHAUSTED).count()
    if exhausted and not Alert.objects.open().filter(kind="callback-exhausted").exists():
        broken.append(f"{exhausted:,} callbacks were given up, and no alert is open.")
    return broken
