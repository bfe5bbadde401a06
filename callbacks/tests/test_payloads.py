"""The body, field by field, and its sealing."""

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.fernet import Fernet

from callbacks import payloads
from notify import testing
from notify.crypto import Unreadable, encrypt
from notify.models import Notification

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
NOW_TEXT = "2026-11-24T09:30:00.000000Z"


def notification(**fields) -> Notification:
    """A row that is in no table."""
    defaults = {
        "pk": uuid.UUID(int=1), "template_id": uuid.UUID(int=2), "template_version": 3, "notification_type": "sms",
        "recipient": "+447700900123", "client_reference": "order 7", "status": "delivered", "created_at": NOW,
        "sent_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    return Notification(**(defaults | fields))


def test_the_body_has_exactly_the_promised_fields():
    assert payloads.body(notification()) == {
        "id": "00000000-0000-0000-0000-000000000001",
        "reference": "order 7",
        "to": "+447700900123",
        "status": "delivered",
        "created_at": NOW_TEXT,
        "completed_at": NOW_TEXT,
        "sent_at": NOW_TEXT,
        "notification_type": "sms",
        "template_id": "00000000-0000-0000-0000-000000000002",
        "template_version": 3,
    }


def test_what_is_not_there_is_null():
    body = payloads.body(notification(client_reference="", sent_at=None))
    assert (body["reference"], body["sent_at"]) == (None, None)
    assert json.loads(json.dumps(body))["sent_at"] is None


def test_completed_is_the_moment_of_the_last_change_or_of_the_making():
    later = NOW + timedelta(microseconds=1)
    assert payloads.body(notification(updated_at=later))["completed_at"] == "2026-11-24T09:30:00.000001Z"
    assert payloads.body(notification(updated_at=None))["completed_at"] == NOW_TEXT


def test_times_are_written_in_utc():
    london = datetime(2026, 7, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert payloads.body(notification(created_at=london))["created_at"] == "2026-06-30T23:30:00.000000Z"


@pytest.mark.parametrize("status", Notification.Status.values)
def test_the_status_is_plain_text(status):
    body = payloads.body(notification(status=Notification.Status(status)))
    assert json.loads(json.dumps(body))["status"] == status


def test_a_letter_is_told_with_its_address(db):
    letter = testing.make_notification(notification_type="letter", status="delivered")
    assert payloads.body(letter)["to"] == "\n".join(testing.ADDRESS)


def test_a_sealed_payload_holds_address_token_and_body(db):
    endpoint = testing.make_endpoint(url="https://example.org/é", bearer_token="secret-tökén")
    sealed = payloads.seal_payload(notification(), endpoint)
    assert payloads.open_payload(sealed) == {
        "url": "https://example.org/é",
        "token": "secret-tökén",
        "body": payloads.body(notification()),
    }
    assert b"example" not in sealed


def test_a_payload_outlives_a_change_of_keys_and_not_the_loss_of_one(db, settings):
    old, new = settings.ENCRYPTION_KEYS, Fernet.generate_key().decode()
    sealed = payloads.seal_payload(notification(), testing.make_endpoint())
    settings.ENCRYPTION_KEYS = [new, *old]
    assert payloads.open_payload(sealed)["token"] == "token-token"
    settings.ENCRYPTION_KEYS = [new]
    with pytest.raises(Unreadable):
        payloads.open_payload(sealed)


def test_what_the_database_gives_can_be_opened():
    assert payloads.open_payload(memoryview(encrypt(b'{"url": "x"}'))) == {"url": "x"}
