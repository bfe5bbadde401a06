"""Receipts go with the message they are about."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from notify.testing import make_notification, make_provider
from providers import retention
from providers.models import Receipt

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
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
    assert retention.run([gone.pk], now=NOW) == 2
    assert set(Receipt.objects.values_list("pk", flat=True)) == left
    assert retention.run([gone.pk], now=NOW) == 0


def test_asked_without_messages_nothing_goes_not_even_receipts_of_none():
    receipt(make_provider(), None)
    assert retention.run([], now=NOW) == 0
    assert Receipt.objects.exists()


def test_keys_may_come_as_text_and_take_one_query(django_assert_num_queries):
    provider = make_provider()
    keys = [receipt(provider, uuid4()).notification_id for _ in range(20)]
    with django_assert_num_queries(1):
        assert retention.run([str(key) for key in keys], now=NOW) == 20
