"""Messages whose key is not in ENCRYPTION_KEYS wait for it, and use up no try."""

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from notify import missing_key
from notify.models import Notification
from providers.tests.carrying import SECOND, now, open_alerts, provider_at, send, waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("impatient")]
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def fresh(message):
    """Read it anew: a refresh would open what nobody can open."""
    return Notification.objects.get(pk=message.pk)


def due_again():
    Notification.objects.filter(due_at__gt=now()).update(due_at=now())


def test_they_wait_with_an_alert_stop_nobody_and_go_out_when_the_key_is_back(server, settings):
    settings.ENCRYPTION_KEYS = [OLD]
    sealed = waiting(3)
    settings.ENCRYPTION_KEYS = [NEW]
    provider_at(server)
    (readable,) = waiting()
    for _ in range(30):  # more often than any message is tried
        due_again()
        send()
    assert server.taken == [str(readable.pk)]
    for message in map(fresh, sealed):
        assert (message.status, message.attempts, message.claimed_at) == ("created", 0, None)
        assert (message.first_attempt_at, message.provider_name) == (None, "")
        assert (message.status_reason, message.due_at > now() + 50 * SECOND) == (missing_key.REASON, True)
    assert open_alerts() == [("encryption-key-missing", "messages")]
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    due_again()
    send()
    assert sorted(server.taken) == sorted(str(message.pk) for message in [readable, *sealed])
    assert {(fresh(message).status, message.status_reason) for message in sealed} == {("sending", "")}
    assert send() == 0
    assert open_alerts() == []


def test_a_message_that_was_tried_before_keeps_its_tries_and_their_hours(server, settings):
    settings.ENCRYPTION_KEYS = [OLD]
    before = now() - 600 * SECOND
    (waits,) = waiting(attempts=2, first_attempt_at=before)
    settings.ENCRYPTION_KEYS = [NEW]
    provider_at(server)
    assert send() == 1
    message = fresh(waits)
    assert (message.attempts, message.first_attempt_at, message.status) == (2, before, "created")


def test_what_is_too_short_for_a_ciphertext_does_not_wait_for_a_key(server):
    provider_at(server)
    (short, no_shorter) = waiting(2)
    with connection.cursor() as cursor:
        for message, size in ((short, 31), (no_shorter, 32)):
            value = bytes(size)
            cursor.execute("UPDATE notify_notification SET recipient = %s WHERE id = %s", [value, message.pk])
    send()
    assert (fresh(short).status, fresh(no_shorter).status) == ("technical-failure", "created")
