"""The admin pages of messages: who may be read where, and how a message is found."""

import pytest
from django.urls import reverse

from notify.notification_admin import masked, spellings
from notify.testing import make_notification

pytestmark = pytest.mark.django_db
LIST = "/admin/notify/notification/"


def page(client, message=None):
    """Fetch the list, or a message's page."""
    return client.get(
        reverse("admin:notify_notification_change", args=[message.pk]) if message else LIST
    ).content.decode()


@pytest.mark.parametrize(
    ("recipient", "kind", "shown"),
    [
        ("+447700900123", "sms", "•••• 123"),
        ("12345", "sms", "••••"),
        ("anna@example.org", "email", "a•••@example.org"),
        ("no address", "email", "••••"),
        ("Ms A\n1 High Street\nAB1 2CD", "letter", "•••• AB1 2CD"),
        ("", "sms", "–"),
    ],
)
def test_a_masked_recipient_keeps_enough_to_tell_two_apart(recipient, kind, shown):
    assert masked(recipient, kind) == shown


def test_the_list_masks_recipients_and_the_page_shows_them(admin_client):
    message = make_notification(recipient="+447700900123")
    assert "7700900123" not in page(admin_client)
    assert "+447700900123" in page(admin_client, message)


def test_a_recipient_whose_key_is_gone_is_said_to_be_unreadable(admin_client, settings):
    message = make_notification()
    settings.ENCRYPTION_KEYS = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]
    assert "cannot be read" in page(admin_client, message)


def test_messages_are_found_by_recipient_in_any_spelling_by_reference_and_by_id(admin_client):
    message = make_notification(recipient="+447700900123", client_reference="order 7", provider_reference="M-1")
    mail = make_notification(notification_type="email", recipient="anna@example.org")
    make_notification(recipient="+447700900124", client_reference="order 77")
    found = {
        text: [str(row.pk) for row in admin_client.get(LIST, {"q": text}).context["cl"].queryset]
        for text in ("07700 900123", "+44 7700 900 123", "order 7", "M-1", f" {message.pk} ", "anna@EXAMPLE.org", "900")
    }
    one = [str(message.pk)]
    assert found == {
        "07700 900123": one,
        "+44 7700 900 123": one,
        "order 7": one,
        "M-1": one,
        f" {message.pk} ": one,
        "anna@EXAMPLE.org": [str(mail.pk)],
        "900": [],
    }


def test_text_that_is_no_recipient_is_searched_as_it_is():
    assert spellings(" order 7 ") == {"order 7"}


def test_the_held_filter_finds_what_waits_for_a_person(admin_client):
    held = make_notification(due_at=None, unknown_outcomes=1)
    make_notification()
    rows = admin_client.get(LIST, {"held": "person"}).context["cl"].queryset
    assert list(rows) == [held]
