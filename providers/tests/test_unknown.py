"""Messages of which nobody knows whether a provider took them."""

from datetime import UTC, datetime, timedelta

import pytest

from notify.models import Alert, Notification
from notify.testing import make_notification, make_provider, make_service
from providers import unknown
from providers.models import Provider

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TEN_MINUTES = timedelta(minutes=10)
HOLD = Provider.UnknownOutcome.HOLD


def make_lapsed(**fields):
    """A message whose worker died a minute ago."""
    defaults = {"claimed_at": NOW - 60 * SECOND, "due_at": NOW, "attempts": 1, "provider_name": "mmg"}
    return make_notification(**(defaults | fields))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope"))


def test_a_lapsed_lease_waits_ten_minutes_for_a_receipt():
    make_provider()
    message = make_lapsed()
    assert unknown.settle_lapsed(now=NOW) == 1
    message.refresh_from_db()
    assert (message.status, message.due_at, message.claimed_at) == ("created", NOW + TEN_MINUTES, None)
    assert (message.status_reason, message.unknown_outcomes, message.attempts) == ("outcome-unknown", 1, 1)
    assert open_alerts() == []


def test_unknown_again_is_held_with_one_alert():
    make_provider()
    messages = [make_lapsed(unknown_outcomes=1) for _ in range(3)]
    assert unknown.settle_lapsed(now=NOW) == 3
    for message in messages:
        message.refresh_from_db()
        assert (message.status, message.due_at, message.unknown_outcomes) == ("created", None, 2)
    assert open_alerts() == [("outcome-unknown", "mmg")]


def test_a_provider_that_says_hold_holds_at_once():
    make_provider(unknown_outcome=HOLD)
    message = make_lapsed()
    unknown.settle_lapsed(now=NOW)
    message.refresh_from_db()
    assert (message.due_at, message.unknown_outcomes) == (None, 1)
    assert open_alerts() == [("outcome-unknown", "mmg")]


def test_a_message_of_a_provider_that_is_gone_is_held():
    message = make_lapsed()
    unknown.settle_lapsed(now=NOW)
    message.refresh_from_db()
    assert message.due_at is None


def test_lapsed_means_claimed_and_due_again_whatever_became_of_the_service():
    make_provider()
    off = make_service(active=False)
    messages = {
        "just over": make_lapsed(due_at=NOW - SECOND),
        "exactly at": make_lapsed(),
        "just under": make_lapsed(due_at=NOW + SECOND),
        "never claimed": make_lapsed(claimed_at=None),
        "settled by a receipt": make_lapsed(status="delivered"),
        "service switched off": make_lapsed(service=off),
    }
    assert unknown.settle_lapsed(now=NOW) == 3
    judged = set(Notification.objects.filter(unknown_outcomes=1).values_list("pk", flat=True))
    found = [label for label, message in messages.items() if message.pk in judged]
    assert found == ["just over", "exactly at", "service switched off"]


def test_a_second_look_at_the_same_moment_finds_nothing(django_assert_max_num_queries):
    make_provider()
    for _ in range(20):
        make_lapsed()
    with django_assert_max_num_queries(16):
        assert unknown.settle_lapsed(now=NOW) == 20
    with django_assert_max_num_queries(3):
        assert unknown.settle_lapsed(now=NOW) == 0


def test_a_batch_is_bounded_and_the_rest_comes_next(monkeypatch):
    monkeypatch.setattr(unknown, "BATCH", 2)
    make_provider()
    for _ in range(3):
        make_lapsed()
    assert [unknown.settle_lapsed(now=NOW) for _ in range(3)] == [2, 1, 0]


def test_the_alert_names_each_provider_and_closes_when_nothing_of_it_is_held_any_more():
    for name in ("mmg", "firetext"):
        make_provider(name)
        make_lapsed(provider_name=name, unknown_outcomes=1, due_at=None, claimed_at=None)
    unknown.tell(now=NOW)
    assert sorted(open_alerts()) == [("outcome-unknown", "firetext"), ("outcome-unknown", "mmg")]
    Notification.objects.filter(provider_name="mmg").update(status="delivered")
    unknown.tell(now=NOW + SECOND)
    assert open_alerts() == [("outcome-unknown", "firetext")]
    assert Alert.objects.get(scope="mmg").resolved_at == NOW + SECOND
