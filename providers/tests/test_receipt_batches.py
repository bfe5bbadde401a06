"""Receipts in numbers: arrays, poison among them, and two workers at once."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from callbacks.models import Callback
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_provider
from providers import receipts
from providers.backends import mmg
from providers.models import Provider, Receipt

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def sent(**fields):
    return make_notification(**({"status": "sending", "provider_name": "mmg", "sent_at": NOW - MINUTE} | fields))


def element(reference, status="3", substatus="5"):
    return {"CID": str(reference), "status": status, "substatus": substatus}


def store(provider, content, *, now=NOW):
    receipts.store(provider, json.dumps(content).encode(), "application/json", now=now)


def statuses(messages):
    found = dict(Notification.objects.filter(pk__in=[one.pk for one in messages]).values_list("pk", "status"))
    return [found[one.pk] for one in messages]


def outcomes():
    return sorted(Receipt.objects.values_list("outcome", flat=True))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope"))


def test_each_element_of_an_array_counts_and_a_bad_one_stops_nobody():
    messages = [sent() for _ in range(3)]
    array = [
        element(messages[0].pk),
        {"status": "3"},
        element(messages[1].pk, "4", "6"),
        "x",
        element(messages[2].pk, "77"),
    ]
    store(make_provider(), array)
    receipts.apply_batch(now=NOW)
    assert statuses(messages) == ["delivered", "temporary-failure", "sending"]
    assert outcomes() == ["RECEIPT_UNREADABLE", "RECEIPT_UNREADABLE", "applied", "applied", "split", "unknown-code"]
    assert open_alerts() == [("unknown-receipt-code", "mmg 77")]


def test_an_array_that_comes_twice_or_holds_the_same_twice_counts_once():
    message = sent()
    make_endpoint(message.service)
    provider = make_provider()
    for array in ([element(message.pk)] * 2, [element(message.pk)] * 2, [element(message.pk)] * 3):
        store(provider, array)
        receipts.apply_batch(now=NOW)
    assert (statuses([message]), Callback.objects.count()) == (["delivered"], 1)
    assert (outcomes().count("split"), outcomes().count("applied")) == (2, 5)


def test_the_elements_of_an_array_do_not_repeat_its_body():
    store(make_provider(), [element(uuid4()) for _ in range(50)])
    receipts.apply_batch(now=NOW)
    sizes = [len(bytes(receipt.body)) for receipt in Receipt.objects.all()]
    assert (len(sizes), sizes.count(0)) == (51, 50)


def test_an_element_that_came_before_its_message_waits_by_itself():
    here, key = sent(), uuid4()
    store(make_provider(), [element(here.pk), element(key)])
    for moment in (NOW, NOW + MINUTE, NOW + 10 * MINUTE):
        receipts.apply_batch(now=moment)
    assert (statuses([here]), outcomes()) == (["delivered"], ["applied", "split", "waiting"])
    late = sent(pk=key)
    receipts.apply_batch(now=NOW + HOUR)
    assert (statuses([late]), outcomes()) == (["delivered"], ["applied", "applied", "split"])


def test_an_array_that_is_read_anew_gives_its_unread_elements_another_chance(monkeypatch):
    known, unknown = sent(), sent()
    store(make_provider(), [element(known.pk), element(unknown.pk, "77")])
    receipts.apply_batch(now=NOW)
    monkeypatch.setitem(mmg.STATUSES, "77", "delivered")
    Receipt.objects.filter(outcome="split").update(applied_at=None, outcome="", due_at=NOW)
    receipts.apply_batch(now=NOW)
    assert (statuses([known, unknown]), outcomes()) == (["delivered"] * 2, ["applied", "applied", "split"])


def test_a_receipt_that_cannot_be_opened_waits_and_does_not_stop_its_batch():
    message, provider = sent(), make_provider()
    store(provider, element(uuid4()))
    Receipt.objects.update(body=b"not a token of ours")
    poison = Receipt.objects.get()
    store(provider, element(message.pk))
    receipts.apply_batch(now=NOW)
    poison.refresh_from_db()
    assert statuses([message]) == ["delivered"]
    assert (poison.outcome, poison.applied_at, poison.due_at) == ("unreadable", None, NOW + HOUR)
    assert open_alerts() == [("unreadable-receipt", "mmg")]


def test_a_backend_that_cannot_be_loaded_loses_no_receipt_and_the_alert_closes_when_it_is_mended():
    message, provider = sent(), make_provider()
    good = provider.backend
    Provider.objects.update(backend="providers.backends.gone.Gone")
    store(provider, element(message.pk))
    receipts.apply_batch(now=NOW)
    assert (statuses([message]), outcomes()) == (["sending"], ["unreadable"])
    Provider.objects.update(backend=good)
    assert receipts.apply_batch(now=NOW + HOUR - MINUTE) == 0
    assert receipts.apply_batch(now=NOW + HOUR) == 1
    assert (statuses([message]), outcomes(), open_alerts()) == (["delivered"], ["applied"], [])


def test_a_batch_is_bounded_and_takes_the_oldest_first():
    provider, messages = make_provider(), [sent() for _ in range(5)]
    for message in messages:
        store(provider, element(message.pk))
    assert [receipts.apply_batch(now=NOW, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_number_of_queries_does_not_grow_with_the_number_of_receipts():
    provider, counts = make_provider(), []
    endpoint = make_endpoint()
    for number in (3, 60):
        for _ in range(number):
            store(provider, element(sent(service=endpoint.service).pk))
        with CaptureQueriesContext(connection) as queries:
            assert receipts.apply_batch(now=NOW) == number
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 25
    assert Callback.objects.count() == 63


def wait_until_blocked(number):
    """Wait until this many connections wait for a lock that somebody else holds."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 120
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first
            cursor.execute(waiting)
            if cursor.fetchone()[0] == number:
                return
            time.sleep(0.01)
    raise AssertionError(f"not {number} connections waited")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (("3", "4"), "delivered"),
        (("4", "3"), "delivered"),
        (("2", "4"), "permanent-failure"),
        (("4", "2"), "permanent-failure"),
    ],
)
def test_two_workers_with_receipts_of_one_message_end_in_the_same_status(codes, status):
    provider, message = make_provider(), sent()
    make_endpoint(message.service)
    for place, code in enumerate(codes):
        store(provider, element(message.pk, code), now=NOW - timedelta(seconds=len(codes) - place))

    def work():
        try:
            return receipts.apply_batch(now=NOW, limit=1)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(codes)) as pool:
        workers = []
        with transaction.atomic():  # both have read their receipt before either may look at the message
            Notification.objects.select_for_update().get(pk=message.pk)
            for number in range(1, len(codes) + 1):
                workers.append(pool.submit(work))
                wait_until_blocked(number)
        assert [worker.result(timeout=120) for worker in workers] == [1, 1]
    assert (statuses([message]), outcomes()) == ([status], ["applied", "applied"])
    assert Callback.objects.filter(notification_status=status).count() == 1
