"""What providers reported goes with the notification it is about; what is about none goes by its own age."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from notify.bulk import among
from providers.models import Receipt

KEPT_FOR = timedelta(days=30)  # a receipt that is about no message, from when it came
BATCH = 1_000


def run(keys: Sequence[UUID | str], *, now: datetime, kind: str) -> int:
    """Delete the receipts of these notifications; asked without keys, a batch of those of no message past KEPT_FOR.

    Returns how many.
    """
    if keys:
        return Receipt.objects.filter(notification_id__in=among(keys)).delete()[0]
    old = Receipt.objects.of_no_message(now - KEPT_FOR)
    return Receipt.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH])).delete()[0]
