"""What providers reported goes with the notification it is about; what is about none goes by its own age."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

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
    with transaction.atomic():  # locked: one that is put back to be applied again meanwhile stays
        locked = Receipt.objects.of_no_message(now - KEPT_FOR).select_for_update(skip_locked=True)
        old = list(locked.values_list("pk", flat=True)[:BATCH])
        return Receipt.objects.filter(pk__in=among(old)).delete()[0] if old else 0
