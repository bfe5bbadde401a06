"""What the tests of receipts that are put back share."""

import json
from datetime import UTC, datetime, timedelta

from notify.models import Alert, Notification
from notify.testing import make_notification
from providers import receipts
from providers.models import Receipt
from providers.replaying import PutBack, put_back

NOW = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def sent(**fields):
    return make_notification(**({"status": "sending", "provider_name": "mmg", "sent_at": NOW - MINUTE} | fields))


def element(reference, status="77"):
    return {"CID": str(reference), "status": status}


def arrive(provider, content, *, now=NOW):
    receipts.store(provider, json.dumps(content).encode(), "application/json", now=now)
    receipts.apply_batch(now=now)


def replay(chosen=None, *, now=NOW + DAY, limit=100):
    return sum(put_back(Receipt.objects.all() if chosen is None else chosen, now=now, limit=limit), PutBack())


def outcomes():
    return sorted(Receipt.objects.values_list("outcome", flat=True))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope").order_by("scope"))


def status_of(message):
    return Notification.objects.get(pk=message.pk).status
