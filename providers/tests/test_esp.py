"""Delivery reports of email providers, in the shapes their manuals show, from the address to the message's status."""

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from notify.models import Alert, Notification
from notify.testing import make_notification, make_provider
from providers import esp, receipts
from providers.backends import ReceiptProblem
from providers.models import Receipt

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
AT = "2026-03-29T11:59:00Z"
KEY = "0197f000-0000-7000-8000-000000000001"
OWN = "883953f4-6105-42a2-a16a-77a8eac79483"
CONFIG = {"receipt_user": "post", "receipt_passwords": ["newer", "older"]}
POSTMARK = {
    "delivered": {"RecordType": "Delivery", "DeliveredAt": AT, "Details": "Test"},
    "hard": {"RecordType": "Bounce", "Type": "HardBounce", "ID": 42, "BouncedAt": AT, "Details": "smtp;550 unknown"},
    "soft": {"RecordType": "Bounce", "Type": "SoftBounce", "ID": 43, "BouncedAt": AT},
    "deferred": {"RecordType": "Bounce", "Type": "Transient", "ID": 44, "BouncedAt": AT},
    "complaint": {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "ID": 45, "BouncedAt": AT},
    "opened": {"RecordType": "Open", "ReceivedAt": AT, "UserAgent": "x"},
    "new word": {"RecordType": "Teleport"},
}


def postmark(kind, key=KEY, **more):
    same = {"MessageID": OWN, "Tag": "", "Metadata": {"notification_id": str(key)}}
    return json.dumps(same | POSTMARK[kind] | more).encode()


def mailgun(event, **more):
    data = {
        "event": event, "id": "e1", "timestamp": 1774785540.0, "recipient": "a@example.org", "tags": [],
        "message": {"headers": {"message-id": f"{KEY}@example.org"}}, "user-variables": {},
    }  # fmt: skip
    signature = {"token": "t", "timestamp": "1", "signature": "s"}
    return json.dumps({"signature": signature, "event-data": data | more}).encode()


def sendgrid(*names):
    same = {"email": "a@example.org", "timestamp": 1774785540, "smtp-id": f"<{KEY}@example.org>", "sg_message_id": "s"}
    return json.dumps([same | {"event": name} for name in names]).encode()


def read(name, body):
    return esp.read(body, esp.label(name, "application/json"))


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("delivered", "delivered", "delivered"),
        ("hard", "permanent-failure", "bounced"),
        ("soft", "temporary-failure", "bounced"),
        ("deferred", "noted", "deferred"),
        ("complaint", "complaint", "complained"),
        ("opened", "noted", "opened"),
        ("new word", "", "Teleport"),
    ],
)
def test_postmark(kind, status, code):
    [report] = read("postmark", postmark(kind))
    assert (report.reference, report.status, report.code) == (KEY, status, code)
    assert report.occurred_at == (None if kind == "new word" else datetime(2026, 3, 29, 11, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    ("event", "more", "status"),
    [
        ("delivered", {}, "delivered"),
        ("failed", {"severity": "permanent", "reason": "bounce"}, "permanent-failure"),
        ("failed", {"severity": "temporary", "reason": "generic"}, "noted"),
        ("complained", {}, "complaint"),
    ],
)
def test_mailgun_names_us_by_the_message_id(event, more, status):
    [report] = read("mailgun", mailgun(event, **more))
    assert (report.reference, report.status) == (KEY, status)


def test_sendgrid_sends_an_array():
    reports = read("sendgrid", sendgrid("processed", "delivered", "bounce"))
    assert [report.status for report in reports] == ["noted", "delivered", "permanent-failure"]
    assert {report.reference for report in reports} == {KEY}


def test_a_report_that_does_not_repeat_our_id_names_the_providers_own():
    [report] = read("postmark", postmark("delivered", Metadata={}))
    assert (report.reference, report.provider_reference) == ("", OWN)


@pytest.mark.parametrize("name", sorted(esp.views()))
def test_what_no_view_can_read_has_a_code(name):
    for body in (b"", b"{", b"[]", b"7", b"\xff", b"a=b"):
        with pytest.raises(ReceiptProblem) as caught:
            read(name, body)
        assert caught.value.code in ("RECEIPT_EMPTY", "RECEIPT_UNREADABLE")


@pytest.mark.parametrize("content_type", ["", "application/json", "nobody; application/json"])
def test_a_report_of_no_named_provider_is_read_as_the_configured_one_or_not_at_all(content_type):
    with pytest.raises(ReceiptProblem):
        esp.read(postmark("delivered"), content_type)
    assert esp.read(postmark("delivered"), content_type, default="postmark")[0].status == "delivered"


# --- The whole way -------------------------------------------------------------------------------------------------


def email(**fields):
    sent_at = NOW - timedelta(hours=1)
    given = {"notification_type": "email", "status": "sending", "provider_name": "email", "sent_at": sent_at}
    return make_notification(**(given | fields))


def post(client, body, *, password="newer", name="postmark"):
    headers = {"Authorization": "Basic " + base64.b64encode(f"post:{password}".encode()).decode()}
    return client.post(f"/receipts/email/{name}/", body, "application/json", headers=headers).status_code


def ended(message):
    receipts.apply_batch(now=datetime.now(UTC))
    message.refresh_from_db()
    return message.status


@pytest.mark.django_db
@pytest.mark.parametrize(("password", "status"), [("newer", 200), ("older", 200), ("oldest", 401), ("", 401)])
def test_two_passwords_are_good_at_once(client, password, status):
    make_provider("email", config=CONFIG)
    assert post(client, postmark("delivered"), password=password) == status
    assert Receipt.objects.count() == (1 if status == 200 else 0)


@pytest.mark.django_db
def test_credentials_of_a_provider_of_text_messages_open_nothing(client):
    make_provider("mmg", config=CONFIG)
    assert post(client, postmark("delivered")) == 401


@pytest.mark.django_db
def test_a_form_nobody_can_read_is_refused_by_name(client):
    make_provider("email", config=CONFIG)
    assert post(client, b"{}", name="pigeon") == 404
    assert post(client, b"{}", name="pigeon", password="wrong") == 401
    assert not Receipt.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(["delivered", "soft", "hard"])))
def test_a_bounce_after_acceptance_is_the_truth_in_any_order(client, order):
    make_provider("email", config=CONFIG)
    target = email()
    for kind in [*order, "complaint", "deferred", *order]:
        assert post(client, postmark(kind, target.pk)) == 200
        ended(target)
    assert target.status == "permanent-failure"


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations(["delivered", "soft", "complaint", "deferred"], 3)))
def test_without_a_hard_bounce_the_strongest_report_wins_and_the_rest_is_recorded(client, order):
    make_provider("email", config=CONFIG)
    target = email()
    for kind in order:
        post(client, postmark(kind, target.pk))
        ended(target)
    assert target.status == ("delivered" if "delivered" in order else "temporary-failure")
    assert Receipt.objects.filter(outcome="applied", notification_id=target.pk).count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["complaint", "deferred", "opened"])
def test_what_is_no_end_changes_nothing_and_alerts_nobody(client, kind):
    make_provider("email", config=CONFIG)
    target = email()
    post(client, postmark(kind, target.pk))
    assert ended(target) == "sending"
    assert not Alert.objects.exists()


@pytest.mark.django_db
def test_a_report_by_the_providers_own_id_finds_its_message_even_when_it_comes_first(client):
    make_provider("email", config=CONFIG)
    target, other = email(), email(provider_name="other", provider_reference=OWN)
    post(client, postmark("delivered", Metadata={}))
    assert ended(target) == "sending"
    assert Receipt.objects.get().outcome == receipts.PARKED
    Notification.objects.filter(pk=target.pk).update(provider_reference=OWN)
    receipts.apply_batch(now=datetime.now(UTC) + timedelta(minutes=2))
    assert (ended(target), ended(other)) == ("delivered", "sending")


@pytest.mark.django_db
def test_an_unknown_event_changes_nothing_and_is_alerted(client):
    make_provider("email", config=CONFIG)
    target = email()
    post(client, postmark("new word", target.pk))
    assert ended(target) == "sending"
    assert Alert.objects.open().values_list("kind", "scope").get() == ("unknown-receipt-code", "email Teleport")
