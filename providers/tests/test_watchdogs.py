"""Messages that are never heard of again, and messages that wait."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from callbacks.payloads import open_payload
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_provider, make_service, make_template
from providers import watchdogs
from providers.pausing import pause_sending

NOW = datetime(2026, 10, 28, 0, 5, tzinfo=UTC)
AGE, HOUR, SECOND = timedelta(hours=72), timedelta(hours=1), timedelta(seconds=1)
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "after"),
    [("sending", "temporary-failure"), ("pending", "temporary-failure"), ("created", "technical-failure"),
     ("delivered", "delivered"), ("sent", "sent"), ("permanent-failure", "permanent-failure")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["sms", "email"])
def test_72_hours_without_a_final_status_give_one(status, after, kind):
    template = make_template(notification_type=kind)
    over = make_notification(template=template, status=status, created_at=NOW - AGE - SECOND)
    at = make_notification(template=template, status=status, created_at=NOW - AGE)
    assert watchdogs.timeout_notifications(now=NOW) == (status != after)
    assert Notification.objects.get(pk=over.pk).status == after
    assert Notification.objects.get(pk=at.pk).status == status
    assert watchdogs.timeout_notifications(now=NOW) == 0


def test_letters_do_not_time_out():
    make_notification(notification_type="letter", status="sending", created_at=NOW - 2 * AGE)
    assert watchdogs.timeout_notifications(now=NOW) == 0


def test_the_service_is_told_in_the_same_transaction_from_the_values_after_the_change():
    endpoint = make_endpoint()
    row = make_notification(service=endpoint.service, status="sending", created_at=NOW - AGE - SECOND)
    watchdogs.timeout_notifications(now=NOW)
    body = open_payload(Callback.objects.get().payload)["body"]
    assert (body["id"], body["status"], body["sent_at"]) == (str(row.pk), "temporary-failure", None)
    assert body["completed_at"] == "2026-10-28T00:05:00.000000Z"


def test_more_than_one_batch_and_the_limit(monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(watchdogs, "BATCH", 10)
    template = make_template()
    for _ in range(25):
        make_notification(template=template, status="sending", created_at=NOW - AGE - SECOND)
    assert watchdogs.timeout_notifications(now=NOW, limit=10) == 10
    with django_assert_max_num_queries(40):
        assert watchdogs.timeout_notifications(now=NOW) == 15


def waiting(**fields):
    defaults = {"created_at": NOW - HOUR - SECOND, "due_at": NOW - HOUR}
    return make_notification(**(defaults | fields))


def test_created_for_over_an_hour_and_due_is_said_with_the_reason_and_closes():
    waiting()
    make_notification(created_at=NOW - HOUR, due_at=NOW - HOUR)
    waiting(due_at=NOW + HOUR)
    assert watchdogs.replay_created_notifications(now=NOW) == 1
    alert = Alert.objects.open().get()
    assert (alert.kind, alert.scope) == ("messages-waiting", "sms")
    assert "no provider of that type is active" in alert.message
    make_provider()
    watchdogs.replay_created_notifications(now=NOW)
    assert "backlog" in Alert.objects.open().get().message
    pause_sending(reason="x", now=NOW)
    watchdogs.replay_created_notifications(now=NOW)
    assert "paused" in Alert.objects.open().get(kind="messages-waiting").message
    Notification.objects.update(status="delivered")
    watchdogs.replay_created_notifications(now=NOW)
    assert not Alert.objects.open().filter(kind="messages-waiting").exists()


def test_a_service_that_is_switched_off_with_messages_waiting_is_named():
    service = make_service(active=False)
    waiting(service=service)
    assert watchdogs.replay_created_notifications(now=NOW) == 0
    assert Alert.objects.open().get().scope == f"service {service.pk}"
    service.active = True
    service.save()
    watchdogs.replay_created_notifications(now=NOW)
    assert not Alert.objects.open().filter(kind="service-inactive").exists()
