"""What a person sees before deciding about a held message."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from notify.models import Notification
from notify.testing import make_notification, make_provider
from providers.evidence import evidence_of, tries
from providers.models import Receipt
from providers.tests.test_held import HOUR, NOW, make_held

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("attempts", "unknown", "words"),
    [
        (1, 1, "1 try, 1 of unknown outcome"),
        (2, 2, "2 tries, 2 of unknown outcome"),
        (3, 2, "3 tries, 2 of unknown outcome; at the other the provider said that it did not take the message"),
        (4, 1, "4 tries, 1 of unknown outcome; at the others the provider said that it did not take the message"),
    ],
)
def test_tries_are_put_in_words(attempts, unknown, words):
    assert tries(Notification(attempts=attempts, unknown_outcomes=unknown)) == words


def test_what_happened_is_told_in_its_order_with_receipts_and_decisions():
    mmg = make_provider()
    make_provider("firetext")
    message, other = make_held(), make_notification()
    for reported, of in (("pending", message), ("delivered", other)):
        Receipt.objects.create(
            provider=mmg, dedupe_key=reported, body=b"", notification_id=of.pk, reported=reported, code="2",
            outcome="applied", received_at=NOW - HOUR / 4,
        )  # fmt: skip
    entry = LogEntry.objects.create(
        user=User.objects.create_user("anna"), content_type=ContentType.objects.get_for_model(Notification),
        object_id=str(message.pk), object_repr="x", action_flag=CHANGE, change_message="Held message sent again.",
    )  # fmt: skip
    LogEntry.objects.filter(pk=entry.pk).update(action_time=NOW - HOUR / 8)
    found = evidence_of(message)
    assert [event.what for event in found.events] == [
        "The message was made.",
        "It was given to a provider again.",
        "The last try, at Mmg, ended without an answer; held since.",
        "Mmg reported pending, code 2 (receipt: applied).",
        "anna: Held message sent again.",
    ]
    assert (found.receipts, found.provider, list(found.others)) == (1, "Mmg", ["Firetext"])
    assert (found.since, found.until) == (message.first_attempt_at, message.updated_at)
    assert found.ends_at == message.created_at + timedelta(hours=72)


def test_a_message_of_a_provider_that_is_gone_still_has_its_evidence():
    found = evidence_of(make_held(provider_name="gone", first_attempt_at=None, updated_at=None))
    assert (found.provider, found.until, len(found.events)) == ("gone", None, 1)
