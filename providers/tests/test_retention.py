"""Receipts go with the message they are about."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from notify.testing import make_notification, make_provider
from providers import retention
from providers.models import Receipt

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.django_db


def receipt(provider, notification_id, **fields):
    return Receipt.objects.create(
        provider=provider, dedupe_key=uuid4().hex, body=b"", notification_id=notification_id, **fields
    )


def test_all_receipts_of_these_messages_go_and_no_other():
    provider, gone, stays = make_provider(), make_notification(), make_notification()
    for applied in (NOW, None):
        receipt(provider, gone.pk, applied_at=applied)
    left = {receipt(provider, stays.pk).pk, receipt(provider, None).pk}
    assert retention.run([gone.pk], now=NOW, kind="sms") == 2
    assert set(Receipt.objects.values_list("pk", flat=True)) == left
    assert retention.run([gone.pk], now=NOW, kind="sms") == 0


def test_a_receipt_of_no_message_goes_thirty_days_after_it_came_once_it_is_done_with():
    provider, limit = make_provider(), NOW - retention.KEPT_FOR
    labels = {
        "just over": receipt(provider, None, received_at=limit - SECOND, applied_at=limit),
        "exactly at": receipt(provider, None, received_at=limit, applied_at=limit),
        "of a message we lack": receipt(
            provider, uuid4(), received_at=limit - SECOND, applied_at=limit, outcome="no-such-message"
        ),
        "not applied": receipt(provider, None, received_at=limit - SECOND),
        "of a message": receipt(provider, uuid4(), received_at=limit - SECOND, applied_at=limit),
    }
    assert retention.run([], now=NOW, kind="") == 2
    assert retention.run([], now=NOW, kind="") == 0
    left = set(Receipt.objects.values_list("pk", flat=True))
    assert [label for label, row in labels.items() if row.pk not in left] == ["just over", "of a message we lack"]


def test_those_of_no_message_go_in_batches(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    provider, old = make_provider(), NOW - 2 * retention.KEPT_FOR
    for _ in range(3):
        receipt(provider, None, received_at=old, applied_at=old)
    assert [retention.run([], now=NOW, kind="") for _ in range(3)] == [2, 1, 0]


def test_keys_may_come_as_text_and_take_one_query(django_assert_num_queries):
    provider = make_provider()
    keys = [receipt(provider, uuid4()).notification_id for _ in range(20)]
    with django_assert_num_queries(1):
        assert retention.run([str(key) for key in keys], now=NOW, kind="sms") == 20
