"""Callbacks stand on their own: they hold no notification back and go by their own age."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from callbacks.models import Callback
from notify.bulk import among

KEPT_FOR = timedelta(days=30)  # after a callback was delivered or given up
BATCH = 1_000


def run(keys: Sequence[UUID | str], *, now: datetime, kind: str) -> int:
    """Delete a batch of callbacks finished for longer than KEPT_FOR, when asked without keys. Returns how many.

    One that waits for an endpoint that is switched off goes as long after it was made: nobody delivers it any more.
    """
    if keys:
        return 0
    limit = now - KEPT_FOR
    with transaction.atomic():  # locked: one that is put back to be delivered again meanwhile stays
        old = Callback.objects.ended_before(limit).claim(BATCH) or _of_nobody(limit)
        return Callback.objects.filter(pk__in=among(old)).delete()[0] if old else 0


def _of_nobody(limit: datetime) -> list[UUID]:
    locked = Callback.objects.nobody_delivers(limit).select_for_update(skip_locked=True, of=("self",))
    return list(locked.values_list("pk", flat=True)[:BATCH])
