"""What providers reported goes with the notification it is about."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from notify.bulk import among
from providers.models import Receipt


def run(keys: Sequence[UUID], *, now: datetime) -> int:
    """Delete the receipts of these notifications. Returns how many."""
    return Receipt.objects.filter(notification_id__in=among(keys)).delete()[0] if keys else 0
