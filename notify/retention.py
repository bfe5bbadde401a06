"""The ground floor's part of retention: the messages themselves, once the floors above removed what is theirs."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from notify.bulk import among
from notify.models import Notification


def run(keys: Sequence[UUID], *, now: datetime) -> int:
    """Delete these notifications. Returns how many."""
    rows = Notification.objects.filter(pk__in=among(keys))
    return rows._raw_delete(rows.db) if keys else 0  # delete() would look for rows the floors above removed
