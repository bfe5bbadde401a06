"""Receipts that are put back: which, how often, and what becomes of them and of the alert."""

from uuid import uuid4

import pytest
from django.db import transaction

from notify.models import Alert
from notify.testing import make_provider
from notify.tests.together import together
from providers import receipts
from providers.backends import mmg as mmg_backend
from providers.models import Receipt
from providers.replaying import PutBack, put_back
from providers.tests.putting_back import DAY, NOW, arrive, element, open_alerts, outcomes, replay, sent, status_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def mmg():
    return make_provider("mmg")


@pytest.fixture
def known(monkeypatch):
    """Add code 77 to MMG's table, as a release would."""
    return lambda: monkeypatch.setitem(mmg_backend.STATUSES, "77", "delivered")


def test_an_unknown_code_that_became_known_is_applied_and_its_alert_closes(mmg, known):
    messages = [sent(), sent()]
    for message in messages:
        arrive(mmg, element(message.pk))
    arrive(mmg, element(messages[0].pk, "78"))
    assert "replay_receipts --provider mmg" in Alert.objects.open().first().message
    known()
    assert replay(Receipt.objects.filter(code="77")) == PutBack(again=2)
    assert open_alerts() == [("unknown-receipt-code", "mmg 77"), ("unknown-receipt-code", "mmg 78")]
    receipts.apply_batch(now=NOW + DAY)
    assert [status_of(message) for message in messages] == ["delivered"] * 2
    assert open_alerts() == [("unknown-receipt-code", "mmg 78")]


def test_the_alert_stays_open_while_one_receipt_with_the_code_is_left(mmg, known):
    for _ in range(2):
        arrive(mmg, element(sent().pk))
    known()
    replay(Receipt.objects.filter(pk=Receipt.objects.first().pk))
    receipts.apply_batch(now=NOW + DAY)
    assert (outcomes(), open_alerts()) == (["applied", "unknown-code"], [("unknown-receipt-code", "mmg 77")])
    replay()
    receipts.apply_batch(now=NOW + DAY, limit=1)  # a full batch: the backlog may go on
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == []


def test_the_alert_of_another_provider_with_the_same_code_stays_open(mmg, known):
    other = make_provider("other", backend="providers.backends.mmg.MMG")
    arrive(mmg, element(sent().pk))
    arrive(other, element(sent(provider_name="other").pk))
    known()
    replay(Receipt.objects.filter(provider=mmg))
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == [("unknown-receipt-code", "other 77")]


def test_a_code_that_is_still_unknown_ends_as_before_and_the_alert_counts(mmg):
    message = sent()
    arrive(mmg, element(message.pk))
    replay()
    receipts.apply_batch(now=NOW + DAY)
    assert (status_of(message), outcomes(), Alert.objects.open().get().times_seen) == ("sending", ["unknown-code"], 2)


def test_the_alert_closes_when_retention_took_the_last_receipt_with_the_code(mmg):
    arrive(mmg, element(sent().pk))
    Receipt.objects.all().delete()
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == []


def test_an_element_of_an_array_is_read_again_with_its_array(mmg, known):
    messages = [sent() for _ in range(3)]
    arrive(mmg, [element(messages[0].pk, "3"), element(messages[1].pk), element(messages[2].pk)])
    arrive(mmg, [element(uuid4(), "3"), element(uuid4(), "3")])  # another array, which is left alone
    known()
    assert replay(Receipt.objects.filter(outcome="unknown-code")) == PutBack(arrays=1)
    receipts.apply_batch(now=NOW + DAY)
    assert [status_of(message) for message in messages] == ["delivered"] * 3
    assert Receipt.objects.get(provider=mmg, outcome="split", applied_at=NOW + DAY)
    assert outcomes() == ["applied"] * 3 + ["split"] * 2 + ["waiting"] * 2
    assert open_alerts() == []


def test_what_counts_already_or_waits_for_its_first_reading_is_left_alone(mmg):
    arrive(mmg, element(sent().pk, "3"))
    arrive(mmg, [element(sent().pk, "3"), element(sent().pk, "4")])
    Receipt.objects.filter(outcome="split").delete()
    receipts.store(mmg, b"not read yet", "", now=NOW)
    before = list(Receipt.objects.order_by("pk").values())
    assert replay() == PutBack()
    assert list(Receipt.objects.order_by("pk").values()) == before


def test_parked_and_unreadable_ones_are_due_at_once_and_stay_what_they_are(mmg):
    for outcome in ("unreadable", "waiting"):
        arrive(mmg, element(uuid4()))
        Receipt.objects.filter(outcome="waiting").update(outcome=outcome, due_at=NOW + 2 * DAY)
    assert replay() == PutBack(hurried=2)
    assert set(Receipt.objects.values_list("due_at", "applied_at")) == {(NOW + DAY, None)}
    assert outcomes() == ["unreadable", "waiting"]
    assert replay() == PutBack()


def test_a_parked_one_whose_code_became_known_is_read_anew_when_its_message_comes(mmg, known):
    key = uuid4()
    arrive(mmg, element(key))
    known()
    message = sent(pk=key)
    receipts.apply_batch(now=NOW + DAY)
    assert (status_of(message), open_alerts()) == ("delivered", [])


def test_one_given_up_for_want_of_its_message_is_applied_once_the_message_is_there(mmg):
    key = uuid4()
    arrive(mmg, element(key, "3"))
    receipts.apply_batch(now=NOW + 8 * DAY)
    assert outcomes() == ["no-such-message"]
    message = sent(pk=key)
    assert replay(now=NOW + 9 * DAY) == PutBack(again=1)
    receipts.apply_batch(now=NOW + 9 * DAY)
    assert status_of(message) == "delivered"


def test_batches_end_although_the_loop_finishes_the_same_receipts_in_vain_meanwhile(mmg):
    for _ in range(5):
        arrive(mmg, element(sent().pk))
    done = []
    for batch in put_back(Receipt.objects.filter(outcome="unknown-code"), now=NOW + DAY, limit=2):
        done.append(batch.again)
        receipts.apply_batch(now=NOW + DAY)
    assert (done, outcomes()) == ([2, 2, 1], ["unknown-code"] * 5)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_put_each_receipt_back_once_and_pass_over_what_a_worker_holds():
    mmg = make_provider("mmg")
    for _ in range(6):
        arrive(mmg, element(sent().pk))
    held = Receipt.objects.first().pk
    with transaction.atomic():
        Receipt.objects.select_for_update().get(pk=held)
        done = together(*[lambda: replay(limit=2)] * 2)
    assert sum(done, PutBack()) == PutBack(again=5)
    assert Receipt.objects.get(applied_at__isnull=False).pk == held
