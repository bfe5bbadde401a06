"""Messages of unknown outcome: what a person decides has one effect, on the message as it was seen."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_provider
from notify.tests.together import together
from providers import held, unknown
from providers.models import Provider
from providers.sending import Sending

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def make_held(**fields):
    """A message that was tried twice, in vain."""
    defaults = {
        "due_at": None, "attempts": 2, "unknown_outcomes": 2, "provider_name": "mmg", "status_reason": unknown.REASON,
        "created_at": NOW - HOUR, "first_attempt_at": NOW - HOUR, "updated_at": NOW - HOUR / 2,
    }  # fmt: skip
    return make_notification(**(defaults | fields))


def seen(*messages):
    return {message.pk: message.attempts for message in messages}


@pytest.mark.django_db
def test_sent_again_means_due_at_once_and_still_of_unknown_outcome():
    make_provider()
    message = make_held()
    [before] = held.send_again(seen(message), now=NOW)
    assert (before.pk, before.provider_name, before.first_attempt_at) == (message.pk, "mmg", NOW - HOUR)
    message.refresh_from_db()
    assert (message.status, message.due_at, message.claimed_at) == ("created", NOW, None)
    assert (message.first_attempt_at, message.attempts, message.unknown_outcomes) == (None, 2, 2)
    [claimed] = Sending().claim(10, NOW)
    assert (claimed.notification.pk, claimed.notification.first_attempt_at) == (str(message.pk), NOW)


@pytest.mark.django_db
def test_unknown_once_more_is_held_once_more_whatever_the_provider_says():
    make_provider(unknown_outcome=Provider.UnknownOutcome.RESEND_ONCE)
    message = make_held(unknown_outcomes=1, attempts=1)
    held.send_again(seen(message), now=NOW)
    Sending().claim(10, NOW)
    assert unknown.settle_lapsed(now=NOW + HOUR) == 1
    message.refresh_from_db()
    assert (message.due_at, message.attempts, message.unknown_outcomes) == (None, 2, 2)
    assert held.send_again({message.pk: 1}, now=NOW + HOUR) == []  # an answer to the question of an hour ago
    assert len(held.send_again({message.pk: 2}, now=NOW + HOUR)) == 1


@pytest.mark.django_db
def test_left_means_technical_failure_told_to_the_service():
    message = make_held()
    make_endpoint(message.service)
    assert [row.pk for row in held.leave(seen(message), "outcome unknown, left by anna", now=NOW)] == [message.pk]
    message.refresh_from_db()
    assert (message.status, message.status_reason) == ("technical-failure", "outcome unknown, left by anna")
    assert Callback.objects.get().notification_status == "technical-failure"


@pytest.mark.django_db
def test_a_long_reason_is_cut_to_what_the_column_takes():
    message = make_held()
    held.leave(seen(message), "x" * 400, now=NOW)
    message.refresh_from_db()
    assert message.status_reason == "x" * 300


@pytest.mark.django_db
@pytest.mark.parametrize("decide", [held.send_again, lambda seen, now: held.leave(seen, "left", now=now)])
def test_only_what_is_held_as_it_was_seen_moves(decide):
    cases = {
        "held": make_held(),
        "sent again by somebody": make_held(due_at=NOW),
        "on the wire": make_held(due_at=NOW + HOUR, claimed_at=NOW),
        "left by somebody": make_held(status="technical-failure"),
        "reported on": make_held(status="delivered"),
        "never unknown": make_held(unknown_outcomes=0),
    }
    labels = {message.pk: label for label, message in cases.items()}
    before = {row.pk: (row.status, row.due_at) for row in Notification.objects.exclude(pk=cases["held"].pk)}
    assert [labels[row.pk] for row in decide(seen(*cases.values()), now=NOW)] == ["held"]
    assert {row.pk: (row.status, row.due_at) for row in Notification.objects.exclude(pk=cases["held"].pk)} == before


@pytest.mark.django_db
@pytest.mark.parametrize("attempts", [1, 3])
def test_another_number_of_tries_than_was_seen_moves_nothing(attempts):
    message = make_held()
    assert held.send_again({message.pk: attempts}, now=NOW) == []
    assert held.leave({message.pk: attempts}, "left", now=NOW) == []
    message.refresh_from_db()
    assert (message.status, message.due_at) == ("created", None)


@pytest.mark.django_db
def test_twice_in_a_row_has_one_effect():
    message = make_held()
    assert len(held.send_again(seen(message), now=NOW)) == 1
    assert held.send_again(seen(message), now=NOW + SECOND) == []
    assert held.leave(seen(message), "left", now=NOW + SECOND) == []
    message.refresh_from_db()
    assert message.due_at == NOW


@pytest.mark.django_db
def test_nothing_chosen_does_nothing():
    assert held.send_again({}, now=NOW) == []
    assert held.leave({}, "left", now=NOW) == []


@pytest.mark.django_db
def test_the_alert_stays_while_one_is_held_and_closes_with_the_last():
    one, other = make_held(), make_held()
    unknown.tell(now=NOW)
    held.send_again(seen(one), now=NOW)
    alert = Alert.objects.open().get()
    assert (alert.kind, alert.scope) == ("outcome-unknown", "mmg")
    assert "Held messages" in alert.message
    held.leave(seen(other), "left", now=NOW + SECOND)
    assert not Alert.objects.open().exists()
    assert Alert.objects.get().resolved_at == NOW + SECOND


@pytest.mark.django_db
def test_many_are_decided_with_as_many_queries_as_few(django_assert_max_num_queries):
    few = [make_held() for _ in range(20)]
    with django_assert_max_num_queries(14):
        assert len(held.send_again(seen(*few), now=NOW)) == 20


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_have_one_effect():
    messages = [make_held() for _ in range(20)]
    shown = seen(*messages)
    answers = together(
        lambda: held.send_again(shown, now=NOW),
        lambda: held.send_again(shown, now=NOW + SECOND),
        lambda: held.leave(shown, "left", now=NOW),
    )
    assert sum(len(rows) for rows in answers) == 20
    moved = [row.pk for rows in answers for row in rows]
    assert len(set(moved)) == 20
