"""What must always hold of callbacks, and how it is said when it does not."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks import invariants, retention
from callbacks.models import Callback
from callbacks.outcomes import settle
from callbacks.retention import KEPT_FOR
from notify import testing
from notify.alerts import close_alert, raise_alert
from notify.models import Notification
from notify.states import Move

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def service(db):
    """A service with an endpoint that was told of one message."""
    endpoint = testing.make_endpoint()
    settle([Move(testing.make_notification(service=endpoint.service).pk, "delivered")], now=NOW)
    return endpoint.service


def test_an_empty_installation_holds(db):
    assert invariants.run(now=NOW) == []


def test_what_was_told_holds(service):
    assert invariants.run(now=NOW) == []


def test_a_final_status_without_a_callback_is_found(service):
    rows = [testing.make_notification(service=service, status="delivered", updated_at=NOW) for _ in range(2)]
    assert invariants.run(now=NOW) == ["2 messages reached a final status without a callback."]
    Notification.objects.filter(pk__in=[row.pk for row in rows]).update(updated_at=NOW - SECOND)
    assert invariants.run(now=NOW) == []  # before the endpoint's first callback


def test_a_callback_of_an_earlier_status_does_not_count(service):
    row = testing.make_notification(service=service)
    settle([Move(row.pk, "temporary-failure")], now=NOW)
    Notification.objects.filter(pk=row.pk).update(status="delivered")
    assert len(invariants.run(now=NOW)) == 1


@pytest.mark.parametrize("status", ["created", "sending", "pending", "pending-virus-check"])
def test_a_message_on_its_way_needs_no_callback(service, status):
    testing.make_notification(service=service, status=status, updated_at=NOW + SECOND)
    assert invariants.run(now=NOW) == []


def test_services_without_an_active_endpoint_need_no_callback(service):
    testing.make_notification(status="delivered", updated_at=NOW + SECOND)
    testing.make_notification(service=service, status="delivered", updated_at=NOW + SECOND)
    service.endpoints.update(active=False)
    assert invariants.run(now=NOW) == []


def test_given_up_callbacks_need_an_open_alert(service):
    Callback.objects.all().move_to(Callback.Status.EXHAUSTED, now=NOW)
    assert invariants.run(now=NOW) == ["1 callbacks were given up, and no alert is open."]
    raise_alert("callback-exhausted", "endpoint 1", "", now=NOW)
    assert invariants.run(now=NOW) == []
    close_alert("callback-exhausted", "endpoint 1", now=NOW)
    assert len(invariants.run(now=NOW)) == 1


@pytest.mark.parametrize(("age", "found"), [(-SECOND, 1), (0 * SECOND, 1), (SECOND, 0)])
def test_a_message_made_longer_ago_than_callbacks_are_kept_says_nothing(service, age, found):
    """Its callback may have gone by its own thirty days while the message is kept for ninety."""
    old = NOW - KEPT_FOR
    Callback.objects.update(created_at=old - timedelta(days=30))  # one that is kept: it was never finished
    testing.make_notification(service=service, status="delivered", created_at=old - age, updated_at=NOW)
    assert len(invariants.run(now=NOW)) == found


def test_a_status_that_is_reported_again_after_its_callback_has_gone_breaks_nothing(service):
    message = Notification.objects.get()
    Notification.objects.update(created_at=NOW)
    Callback.objects.all().move_to(Callback.Status.DELIVERED, now=NOW, delivered_at=NOW)
    settle([Move(testing.make_notification(service=service).pk, "delivered")], now=NOW + SECOND)  # never finished
    later = NOW + KEPT_FOR + SECOND
    assert retention.run([], now=later, kind="") == 1
    settle([Move(message.pk, "delivered")], now=later)
    message.refresh_from_db()
    assert (message.updated_at, Callback.objects.count()) == (later, 1)
    assert invariants.run(now=later) == []


def test_what_retention_takes_of_the_callbacks_breaks_nothing(service):
    later = NOW + KEPT_FOR + SECOND
    Callback.objects.all().move_to(Callback.Status.DELIVERED, now=NOW, delivered_at=NOW)
    settle([Move(testing.make_notification(service=service).pk, "delivered")], now=NOW + SECOND)
    assert retention.run([], now=later, kind="") == 1
    assert invariants.run(now=later) == []
