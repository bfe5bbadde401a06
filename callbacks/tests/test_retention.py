"""Callbacks go thirty days after they were delivered or given up."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from callbacks import retention
from callbacks.models import Callback
from notify.testing import make_endpoint

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
LIMIT = NOW - timedelta(days=30)
SECOND = timedelta(seconds=1)
Status = Callback.Status
pytestmark = pytest.mark.django_db


def callback(endpoint, status, **fields):
    return Callback.objects.create(
        endpoint=endpoint, notification_id=uuid4(), notification_status="delivered", payload=b"", status=status,
        **fields,
    )  # fmt: skip


def test_finished_for_longer_than_thirty_days_go_and_those_that_wait_never():
    endpoint = make_endpoint()
    rows = {
        "delivered just over": callback(endpoint, Status.DELIVERED, delivered_at=LIMIT - SECOND, due_at=NOW),
        "delivered exactly at": callback(endpoint, Status.DELIVERED, delivered_at=LIMIT, due_at=LIMIT - SECOND),
        "given up just over": callback(endpoint, Status.EXHAUSTED, due_at=LIMIT - SECOND),
        "given up exactly at": callback(endpoint, Status.EXHAUSTED, due_at=LIMIT),
        "waits": callback(endpoint, Status.PENDING, due_at=LIMIT - timedelta(days=365)),
    }
    assert retention.run([], now=NOW) == 2
    left = set(Callback.objects.values_list("pk", flat=True))
    assert [name for name, row in rows.items() if row.pk not in left] == ["delivered just over", "given up just over"]
    assert retention.run([], now=NOW) == 0


def test_they_hold_no_message_back_and_do_not_go_with_it():
    row = callback(make_endpoint(), Status.DELIVERED, delivered_at=LIMIT - SECOND)
    assert retention.run([row.notification_id], now=NOW) == 0
    assert Callback.objects.exists()


def test_a_batch_is_bounded_the_oldest_first(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    endpoint = make_endpoint()
    rows = [callback(endpoint, Status.DELIVERED, delivered_at=LIMIT - SECOND) for _ in range(3)]
    assert retention.run([], now=NOW) == 2
    assert Callback.objects.get() == rows[2]
    assert retention.run([], now=NOW) == 1
