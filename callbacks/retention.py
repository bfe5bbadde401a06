"""Callbacks stand on their own: they hold no notification back and go by their own age."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Coalesce

from callbacks.models import Callback

KEPT_FOR = timedelta(days=30)  # after a callback was delivered or given up
BATCH = 1_000


def run(keys: Sequence[UUID | str], *, now: datetime, kind: str) -> int:
    """Delete a batch of callbacks finished for longer than KEPT_FOR, when asked without keys. Returns how many.

    One that waits for an endpoint that is switched off goes as long after it was made: nobody delivers it any more.
    """
    if keys:
        return 0
    limit = now - KEPT_FOR
    ended = Q(status__in=Callback.FINAL, ended__lt=limit)
    waits_for_nobody = Q(status=Callback.Status.PENDING, endpoint__active=False, created_at__lt=limit)
    callbacks = Callback.objects.alias(ended=Coalesce("delivered_at", "due_at"))
    old = callbacks.filter(ended | waits_for_nobody).order_by("pk")  # the oldest keys come first
    return Callback.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:BATCH])).delete()[0]
