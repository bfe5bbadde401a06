"""What must always hold of sending and receipts, and that a breach is named."""

from datetime import UTC, datetime, timedelta

import pytest

from notify.alerts import raise_alert
from notify.testing import make_notification, make_provider, make_service
from providers import invariants
from providers.models import Provider, Receipt

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
TWO_HOURS, SECOND = timedelta(hours=2), timedelta(seconds=1)


def store(message, reported, outcome="applied"):
    return Receipt.objects.create(
        provider=Provider.objects.first() or make_provider(), dedupe_key=f"{Receipt.objects.count()}",
        body=b"", received_at=NOW, due_at=NOW, applied_at=NOW, outcome=outcome, notification_id=message.pk,
        reported=reported,
    )  # fmt: skip


def test_nothing_at_all_and_a_healthy_day_break_nothing():
    assert invariants.run(now=NOW) == []
    store(make_notification(status="delivered"), "delivered")
    make_notification(due_at=NOW)
    make_notification(due_at=NOW + TWO_HOURS)
    assert invariants.run(now=NOW) == []


@pytest.mark.parametrize(("over", "found"), [(-SECOND, 0), (timedelta(0), 0), (SECOND, 1)], ids=["under", "at", "over"])
def test_a_message_due_for_over_two_hours_needs_an_open_alert(over, found):
    make_notification(due_at=NOW - TWO_HOURS - over)
    assert len(invariants.run(now=NOW)) == found
    raise_alert("no-provider", "sms", "nobody may carry", now=NOW)
    assert invariants.run(now=NOW) == []


def test_messages_of_a_service_that_is_switched_off_wait_without_breaking_anything():
    make_notification(service=make_service(active=False), due_at=NOW - 2 * TWO_HOURS)
    assert invariants.run(now=NOW) == []


def test_a_held_message_needs_an_alert_of_its_own_kind():
    make_notification(due_at=None, unknown_outcomes=1)
    raise_alert("no-provider", "sms", "another matter", now=NOW)
    assert invariants.run(now=NOW) == ["1 messages are held, and no alert names them."]
    raise_alert("outcome-unknown", "mmg", "held", now=NOW)
    assert invariants.run(now=NOW) == []


def test_a_receipt_left_unread_for_over_two_hours_is_named():
    receipt = store(make_notification(status="delivered"), "")
    Receipt.objects.update(applied_at=None, outcome="", due_at=NOW - TWO_HOURS + SECOND)
    assert invariants.run(now=NOW) == []
    Receipt.objects.filter(pk=receipt.pk).update(due_at=NOW - TWO_HOURS)
    assert invariants.run(now=NOW) == ["1 receipts are stored for over two hours and not applied."]


def test_a_status_that_its_receipts_contradict_is_named():
    message = make_notification(status="temporary-failure")
    store(message, "temporary-failure")
    assert invariants.run(now=NOW) == []
    store(message, "delivered")
    assert invariants.run(now=NOW) == [f"Message {message.pk} is temporary-failure, but its receipts say delivered."]


@pytest.mark.parametrize("outcome", ["unknown-code", "RECEIPT_PROVIDER_MISMATCH", "waiting"])
def test_receipts_that_do_not_count_contradict_nothing(outcome):
    store(make_notification(status="sending"), "delivered", outcome=outcome)
    assert invariants.run(now=NOW) == []


def test_twenty_contradictions_are_named_and_the_others_counted(django_assert_max_num_queries):
    for _ in range(23):
        store(make_notification(status="sending"), "delivered")
    with django_assert_max_num_queries(8):
        broken = invariants.run(now=NOW)
    assert (len(broken), broken[-1]) == (21, "… and 3 more.")
