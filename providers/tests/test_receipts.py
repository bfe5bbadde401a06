"""Receipts: stored as they come, applied in batches, each with its outcome."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from callbacks.models import Callback
from callbacks.payloads import open_payload
from notify import crypto
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_provider
from providers import receipts
from providers.models import Receipt

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DELIVERED, PERMANENT, TEMPORARY = ("3", "5"), ("2", "1"), ("4", "6")


@pytest.fixture
def mmg(db):
    return make_provider("mmg")


def sent(**fields):
    return make_notification(**({"status": "sending", "provider_name": "mmg", "sent_at": NOW - MINUTE} | fields))


def mmg_receipt(reference, code=DELIVERED, *, at="2026-07-01 12:59:30"):
    """Write one as MMG does; its times are London's, in July an hour ahead of UTC."""
    status, substatus = code
    return {"CID": str(reference), "status": status, "substatus": substatus, "deliverytime": at}


def arrive(provider, content, *, now=NOW, apply=True):
    """Store a receipt and, unless told otherwise, apply what is due."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    new = receipts.store(provider, raw, "application/json", now=now)
    if apply:
        receipts.apply_batch(now=now)
    return new


def outcomes():
    return sorted(Receipt.objects.values_list("outcome", flat=True))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope"))


def fresh(message):
    message.refresh_from_db()
    return message


def test_a_receipt_moves_its_message_and_notes_the_providers_words_and_time(mmg):
    message = sent()
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, message.status_reason) == ("delivered", "delivered to the handset")
    assert (message.delivered_at, message.updated_at) == (datetime(2026, 7, 1, 11, 59, 30, tzinfo=UTC), NOW)
    stored = Receipt.objects.get()
    assert (stored.outcome, stored.applied_at, stored.code) == ("applied", NOW, "3/5")
    assert receipts.apply_batch(now=NOW) == 0


@pytest.mark.parametrize(
    ("at", "delivered_at"),
    [
        ("2026-07-01 12:58:59", NOW - MINUTE),  # before it was sent
        ("2026-07-01 12:59:00", NOW - MINUTE),
        ("2026-07-01 13:00:00", NOW),
        ("2026-07-01 13:00:01", NOW),  # after it was received
        ("25:61", NOW),
        ("", NOW),
    ],
)
def test_the_providers_time_is_clamped_to_between_sending_and_receipt(mmg, at, delivered_at):
    message = sent()
    arrive(mmg, mmg_receipt(message.pk, at=at))
    assert fresh(message).delivered_at == delivered_at


@pytest.mark.django_db
def test_words_and_time_are_those_of_the_receipt_that_decides():
    firetext = make_provider("firetext")
    message = sent(provider_name="firetext")
    form = {"reference": str(message.pk), "time": "2026-07-01 12:59:10"}
    arrive(firetext, urlencode(form | {"status": "1"}).encode())
    arrive(firetext, urlencode(form | {"status": "0", "time": "2026-07-01 12:59:50"}).encode(), now=NOW + MINUTE)
    assert fresh(message).status == "delivered"
    assert message.delivered_at == datetime(2026, 7, 1, 11, 59, 50, tzinfo=UTC)


def test_the_same_body_is_stored_once_and_counted(mmg):
    message = sent()
    assert [arrive(mmg, mmg_receipt(message.pk)) for _ in range(3)] == [True, False, False]
    assert Receipt.objects.get().times_received == 3
    assert fresh(message).status == "delivered"


def test_the_same_body_of_two_providers_is_two_receipts(mmg):
    body = mmg_receipt(sent().pk)
    assert arrive(mmg, body, apply=False)
    assert arrive(make_provider("firetext"), body, apply=False)


def test_the_body_lies_encrypted_in_the_table(mmg):
    arrive(mmg, mmg_receipt("a-very-plain-reference"), apply=False)
    stored = bytes(Receipt.objects.get().body)
    assert b"plain" not in stored
    assert b"a-very-plain-reference" in crypto.decrypt(stored)


def test_each_final_status_is_a_callback_of_its_own_in_the_same_transaction(mmg):
    message = sent()
    make_endpoint(message.service)
    arrive(mmg, mmg_receipt(message.pk, TEMPORARY))
    arrive(mmg, mmg_receipt(message.pk, TEMPORARY, at="2026-07-01 12:59:31"))
    arrive(mmg, mmg_receipt(message.pk, DELIVERED), now=NOW + MINUTE)
    told = Callback.objects.order_by("created_at")
    assert [callback.notification_status for callback in told] == ["temporary-failure", "delivered"]
    assert open_payload(told[1].payload)["body"]["completed_at"] == "2026-07-01T12:01:00.000000Z"


def test_nothing_is_applied_where_the_callback_cannot_be_written(mmg):
    message = sent()
    make_endpoint(message.service)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE callbacks_callback ADD CONSTRAINT refused CHECK (false) NOT VALID")
    arrive(mmg, mmg_receipt(message.pk), apply=False)
    with pytest.raises(IntegrityError):
        receipts.apply_batch(now=NOW)
    assert (fresh(message).status, Receipt.objects.get().applied_at) == ("sending", None)


def test_a_receipt_before_its_message_waits_and_is_applied_when_the_message_appears(mmg):
    key = uuid4()
    arrive(mmg, mmg_receipt(key))
    waiting = Receipt.objects.get()
    assert (waiting.outcome, waiting.applied_at, waiting.due_at) == ("waiting", None, NOW + MINUTE)
    message = sent(pk=key)
    assert receipts.apply_batch(now=NOW + MINUTE - timedelta(seconds=1)) == 0
    assert receipts.apply_batch(now=NOW + MINUTE) == 1
    assert (fresh(message).status, outcomes()) == ("delivered", ["applied"])


@pytest.mark.parametrize(
    ("age", "outcome"),
    [
        (timedelta(days=7) - MINUTE, "waiting"),
        (timedelta(days=7), "waiting"),
        (timedelta(days=7, seconds=1), "no-such-message"),
    ],
    ids=["under", "at", "over"],
)
def test_a_receipt_waits_seven_days_for_its_message(mmg, age, outcome):
    arrive(mmg, mmg_receipt(uuid4()), apply=False)
    receipts.apply_batch(now=NOW + age)
    assert outcomes() == [outcome]
    assert Receipt.objects.filter(applied_at__isnull=True).exists() == (outcome == "waiting")


def test_an_unknown_code_changes_nothing_and_alerts_once_per_provider_and_code(mmg):
    message = sent()
    for second, code in enumerate(["77", "77", "78"]):
        arrive(mmg, mmg_receipt(message.pk, (code, "1"), at=f"2026-07-01 12:59:0{second}"))
    assert (fresh(message).status, outcomes()) == ("sending", ["unknown-code"] * 3)
    assert sorted(open_alerts()) == [("unknown-receipt-code", "mmg 77"), ("unknown-receipt-code", "mmg 78")]
    arrive(mmg, mmg_receipt(message.pk))
    assert fresh(message).status == "delivered"


def test_a_message_of_another_provider_is_left_alone_with_an_alert(mmg):
    message = sent(provider_name="firetext")
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, outcomes()) == ("sending", ["RECEIPT_PROVIDER_MISMATCH"])
    assert open_alerts() == [("receipt-mismatch", "mmg")]
    arrive(mmg, mmg_receipt(message.pk, PERMANENT))  # what was kept does not count later either
    assert fresh(message).status == "sending"


def test_after_an_unknown_outcome_the_first_provider_may_still_report(mmg):
    message = sent(provider_name="firetext", unknown_outcomes=1)
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, open_alerts()) == ("delivered", [])


@pytest.mark.parametrize("status", ["cancelled", "validation-failed", "virus-scan-failed"])
def test_what_never_went_out_keeps_its_status_and_somebody_hears(mmg, status):
    message = sent(status=status, sent_at=None)
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, outcomes()) == (status, ["applied"])
    assert open_alerts() == [("receipt-unexpected", "mmg")]


def test_a_message_never_sent_follows_the_rank_rule_and_is_not_sent_any_more(mmg):
    message = make_notification(due_at=NOW)
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, message.due_at) == ("delivered", None)
    assert open_alerts() == [("receipt-unexpected", "mmg")]


def test_a_receipt_settles_a_message_that_waits_after_an_unknown_outcome(mmg):
    message = sent(status="created", unknown_outcomes=1, status_reason="outcome-unknown", due_at=NOW + MINUTE)
    arrive(mmg, mmg_receipt(message.pk))
    assert (fresh(message).status, message.due_at) == ("delivered", None)
    assert not Notification.objects.due(NOW + timedelta(days=1)).exists()


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"", "RECEIPT_EMPTY"),
        (b"{", "RECEIPT_UNREADABLE"),
        (b"[]", "RECEIPT_EMPTY"),
        (b'{"CID": "a", "status": "3", "status": "2"}', "RECEIPT_AMBIGUOUS"),
    ],
)
def test_what_is_no_receipt_is_kept_with_its_code(mmg, raw, outcome):
    arrive(mmg, raw)
    assert (outcomes(), receipts.apply_batch(now=NOW + timedelta(days=8))) == ([outcome], 0)
