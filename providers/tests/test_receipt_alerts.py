"""Alerts about receipts close when what they say is no longer so, and not before."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notify.alerts import raise_alert
from notify.models import Alert
from notify.testing import make_notification, make_provider
from providers import receipts
from providers.models import Receipt
from providers.reading import UNREADABLE

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def sent(**fields):
    return make_notification(**({"status": "sending", "provider_name": "mmg", "sent_at": NOW} | fields))


def arrive(provider, message, *, now=NOW, number=0):
    body = json.dumps({"CID": str(message.pk), "status": "3", "n": number}).encode()
    receipts.store(provider, body, "application/json", now=now)


def open_alerts():
    return sorted(Alert.objects.open().values_list("kind", "scope"))


def spoil(provider, *, number):
    """Store a receipt whose key is lost; its right ciphertext is returned."""
    arrive(provider, sent(), number=number)
    row = Receipt.objects.order_by("-id").first()
    Receipt.objects.filter(pk=row.pk).update(body=b"not a token of ours")
    return row


def test_the_alert_about_unreadable_receipts_stays_while_one_is_left_whatever_else_is_read():
    provider = make_provider()
    first, second = spoil(provider, number=1), spoil(provider, number=2)
    receipts.apply_batch(now=NOW)
    for row in (first, second):
        assert open_alerts() == [("unreadable-receipt", "mmg")]
        Receipt.objects.filter(pk=row.pk).update(body=row.body)
        receipts.apply_batch(now=NOW + HOUR if row is first else NOW + 2 * HOUR)
    assert open_alerts() == []
    assert Alert.objects.count() == 1  # it was never closed and opened in turns
    assert not Receipt.objects.filter(outcome=UNREADABLE).exists()


def test_alerts_of_a_batch_are_raised_in_order_the_unreadable_among_them():
    mmg, firetext = make_provider(), make_provider("firetext")
    spoil(mmg, number=1)
    arrive(mmg, sent(provider_name="firetext"))
    receipts.store(firetext, f"reference={sent().pk}&status=0".encode(), "", now=NOW)
    with CaptureQueriesContext(connection) as queries:
        receipts.apply_batch(now=NOW)
    raised = [query["sql"] for query in queries if query["sql"].startswith('UPDATE "notify_alert" SET "times_seen"')]
    wanted = [("receipt-mismatch", "firetext"), ("receipt-mismatch", "mmg"), ("unreadable-receipt", "mmg")]
    assert open_alerts() == wanted
    named = [[pair for pair in wanted if all(f"'{word}'" in sql for word in pair)] for sql in raised]
    assert [pairs[0] for pairs in named if pairs] == wanted


@pytest.mark.parametrize("kind", ["receipt-mismatch", "receipt-unexpected"])
def test_an_alert_about_anothers_messages_closes_when_none_came_for_seven_days(kind):
    message = sent(provider_name="firetext") if kind == "receipt-mismatch" else sent(status="cancelled", sent_at=None)
    provider = make_provider()
    last = NOW + HOUR
    for number, moment in enumerate((NOW, last)):
        arrive(provider, message, now=moment, number=number)
        receipts.apply_batch(now=moment)
    for late, left in ((-SECOND, 1), (timedelta(), 1), (SECOND, 0)):
        receipts.apply_batch(now=last + receipts.QUIET_AFTER + late)
        assert len(open_alerts()) == left, late
    arrive(provider, message, now=last + 2 * receipts.QUIET_AFTER, number=9)
    receipts.apply_batch(now=last + 2 * receipts.QUIET_AFTER)
    assert open_alerts() == [(kind, "mmg")]  # a new one
    assert Alert.objects.count() == 2


def test_alerts_of_other_kinds_are_left_alone():
    raise_alert("no-provider", "sms", "", now=NOW)
    receipts.apply_batch(now=NOW + 3 * receipts.QUIET_AFTER)
    assert open_alerts() == [("no-provider", "sms")]
