"""Receipts of the postal provider, from its address to the letter's status."""

import base64
import json
from datetime import UTC, datetime
from itertools import permutations

import pytest

from notify.models import Alert
from notify.testing import make_notification, make_provider
from providers import receipts
from providers.backends import ReceiptProblem
from providers.backends.postal import Postal
from providers.models import Provider, Receipt

NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
STRENGTH = {"rejected": "technical-failure", "despatched": "delivered", "returned": "returned-letter"}
HEADERS = {"Authorization": "Basic " + base64.b64encode(b"simulator:simulator").decode()}
pytestmark = pytest.mark.django_db


def letter(**fields):
    given = {"notification_type": "letter", "status": "sending", "provider_name": "postal", "sent_at": NOW}
    return make_notification(**(given | fields))


def body(message, status):
    return json.dumps({"reference": str(message.pk), "status": status})


def post(client, text):
    return client.post("/receipts/letters/", text, "application/json", headers=HEADERS).status_code


@pytest.mark.parametrize("identifier", ["postal", "printer", "letters"])
def test_a_postal_provider_of_any_name_reports_at_the_address_of_letters(client, identifier):
    provider = make_provider("postal", config={"receipt_user": "simulator", "receipt_passwords": ["simulator"]})
    Provider.objects.filter(pk=provider.pk).update(identifier=identifier)
    message = letter(provider_name=identifier)
    assert post(client, body(message, "despatched")) == 200
    assert ended(message) == "delivered"


def test_a_provider_of_another_channel_does_not_report_on_letters(client):
    make_provider("mmg", config={"receipt_user": "simulator", "receipt_passwords": ["simulator"]})
    assert post(client, "{}") == 401
    assert not Receipt.objects.exists()


def ended(message):
    receipts.apply_batch(now=datetime.now(UTC))
    message.refresh_from_db()
    return message.status


@pytest.mark.parametrize(("word", "status"), STRENGTH.items())
def test_each_word_has_its_status(client, word, status):
    make_provider("postal")
    target = letter()
    assert post(client, body(target, word)) == 200
    assert ended(target) == status


@pytest.mark.parametrize("order", [*permutations(STRENGTH, 3), *permutations(STRENGTH, 2)])
def test_the_strongest_word_wins_in_any_order(client, order):
    make_provider("postal")
    target = letter()
    for word in [*order, *order]:
        post(client, body(target, word))
        ended(target)
    assert target.status == STRENGTH[max(order, key=list(STRENGTH).index)]
    assert Receipt.objects.count() == len(order)


@pytest.mark.parametrize("word", STRENGTH)
def test_a_cancelled_letter_stays_cancelled_and_somebody_is_told(client, word):
    make_provider("postal")
    target = letter(status="cancelled", provider_name="")
    post(client, body(target, word))
    assert ended(target) == "cancelled"
    assert Alert.objects.open().get().kind == "receipt-unexpected"


def test_an_unknown_word_changes_nothing_and_is_alerted(client):
    make_provider("postal")
    target = letter()
    post(client, body(target, "folded"))
    assert ended(target) == "sending"
    assert Alert.objects.open().values_list("kind", "scope").get() == ("unknown-receipt-code", "postal folded")


def test_without_a_postal_provider_the_address_takes_nothing(client):
    make_provider("mmg")
    assert post(client, "{}") == 401
    assert not Receipt.objects.exists()


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-10-25T01:30:00+01:00", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-10-25T01:30:00Z", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("2026-10-25T01:30:00", None),
        ("1999-12-31T23:00:00Z", None),
        ("soon", None),
        (7, None),
    ],
)
def test_a_time_counts_only_with_its_zone(time, moment):
    [report] = Postal({}).read_receipt(json.dumps({"reference": "a", "status": "returned", "time": time}).encode(), "")
    assert report.occurred_at == moment


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "RECEIPT_EMPTY"),
        ("[]", "RECEIPT_EMPTY"),
        ("{", "RECEIPT_UNREADABLE"),
        ("7", "RECEIPT_UNREADABLE"),
        ('{"status": "returned"}', "RECEIPT_UNREADABLE"),
        ('{"reference": "a", "status": 3}', "RECEIPT_UNREADABLE"),
        ('{"reference": "a", "status": "returned", "status": "rejected"}', "RECEIPT_AMBIGUOUS"),
    ],
)
def test_what_is_no_receipt_has_a_code(text, code):
    with pytest.raises(ReceiptProblem) as caught:
        Postal({}).read_receipt(text.encode(), "")
    assert caught.value.code == code


def test_a_bad_element_does_not_stop_the_others(client):
    make_provider("postal")
    first, second = letter(), letter()
    assert post(client, f"[{body(first, 'despatched')}, {{}}, {body(second, 'returned')}]") == 200
    assert (ended(first), ended(second)) == ("delivered", "returned-letter")
    assert Receipt.objects.filter(outcome="RECEIPT_UNREADABLE").count() == 1
