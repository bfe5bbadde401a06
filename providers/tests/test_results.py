"""What an answer of a provider does to a message."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.outcomes import settle
from notify.testing import make_notification, make_provider
from providers import results
from providers.backends import Message, Outcome, Result
from providers.sending import Claimed

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FOUR_HOURS = timedelta(hours=4)


def claimed(*, first=NOW, attempts=1, **fields):
    """A message in the hands of a worker, with the provider that is to carry it."""
    message = make_notification(
        claimed_at=NOW,
        attempts=attempts,
        first_attempt_at=first,
        provider_name="mmg",
        due_at=NOW + 60 * SECOND,
        **fields,
    )
    return Claimed(message, make_provider(), Message(str(message.pk), message.recipient, "Hello", ""))


def after(item, answer, *, now=NOW):
    """Write the answer and return the message as it then is."""
    settle([results.move(item, answer, now=now)], now=now)
    item.notification.refresh_from_db()
    return item.notification


def test_accepted_is_sending_with_the_moment_and_the_providers_reference():
    message = after(claimed(status_reason="try later: busy"), Result(Outcome.ACCEPTED, provider_reference="r" * 300))
    assert (message.status, message.sent_at, message.status_reason) == ("sending", NOW, "")
    assert (message.claimed_at, message.due_at, message.provider_reference) == (None, None, "r" * 200)


@pytest.mark.parametrize(
    ("recipient", "kind", "status"),
    [
        ("+447700900123", "sms", "sending"),
        ("+4915112345678", "sms", "sent"),  # no receipt is expected from abroad
        ("person@example.org", "email", "sending"),
    ],
)
def test_a_text_message_abroad_is_sent_with_its_acceptance(recipient, kind, status):
    item = claimed(recipient=recipient, notification_type=kind)
    assert after(item, Result(Outcome.ACCEPTED)).status == status


def test_refused_ends_with_the_providers_words():
    message = after(claimed(), Result(Outcome.REFUSED, "answered 400: 206: " + "x" * 400))
    assert (message.status, message.due_at, message.claimed_at) == ("technical-failure", None, None)
    assert message.status_reason.startswith("answered 400: 206: x")
    assert len(message.status_reason) == 300


def test_refused_without_words_says_at_least_that():
    assert after(claimed(), Result(Outcome.REFUSED)).status_reason == "refused by the provider"


def test_try_later_waits_and_gives_the_claim_back():
    message = after(claimed(), Result(Outcome.TRY_LATER, "answered 503", retry_after=120))
    assert (message.status, message.claimed_at) == ("created", None)
    assert (message.due_at, message.status_reason) == (NOW + 120 * SECOND, "try later: answered 503")


@pytest.mark.parametrize(
    ("tried_for", "status"),
    [(FOUR_HOURS - SECOND, "created"), (FOUR_HOURS, "technical-failure"), (FOUR_HOURS + SECOND, "technical-failure")],
    ids=["under", "at", "over"],
)
def test_trying_later_ends_four_hours_after_the_first_try(tried_for, status):
    message = after(claimed(first=NOW - tried_for, attempts=60), Result(Outcome.TRY_LATER, "answered 503"))
    assert message.status == status
    assert message.status_reason.startswith("try later: " if status == "created" else "out of tries: ")


@pytest.mark.parametrize("wait", [5 * 3_600, 86_400])
def test_a_provider_that_wants_a_long_wait_does_not_use_up_the_message(wait):
    message = after(claimed(first=NOW - 3_600 * SECOND), Result(Outcome.TRY_LATER, "busy", retry_after=wait))
    assert (message.status, message.due_at) == ("created", NOW + timedelta(hours=3))  # the last try, by whoever may


def test_what_a_backend_raises_is_an_unknown_outcome():
    message = after(claimed(), RuntimeError("boom, +447700900123"))
    assert (message.status, message.status_reason, message.unknown_outcomes) == ("created", "outcome-unknown", 1)
    assert message.due_at == NOW + timedelta(minutes=10)


@pytest.mark.parametrize(("attempts", "base"), [(1, 1), (2, 10), (3, 60), (4, 300), (5, 300), (48, 300)])
def test_the_wait_grows_with_each_try_and_is_jittered_by_a_fifth(attempts, base):
    waits = {results.backoff(attempts, None).total_seconds() for _ in range(200)}
    assert 0.8 * base <= min(waits) < 0.9 * base
    assert 1.1 * base < max(waits) <= 1.2 * base


def test_the_providers_own_wait_counts_where_it_is_longer():
    assert results.backoff(1, 30.0) == timedelta(seconds=30)
    assert results.backoff(4, 30.0) >= timedelta(seconds=240)
    assert results.backoff(1, 0.0) >= timedelta(seconds=0.8)


def test_a_receipt_that_was_faster_keeps_its_status_and_the_moment_of_sending_is_noted():
    item = claimed()
    move = results.move(item, Result(Outcome.ACCEPTED, provider_reference="ref"), now=NOW)
    type(item.notification).objects.filter(pk=item.notification.pk).update(status="delivered", due_at=None)
    assert settle([move], now=NOW) == {}
    results.note_late([move])
    item.notification.refresh_from_db()
    assert (item.notification.status, item.notification.sent_at) == ("delivered", NOW)
    assert (item.notification.provider_reference, item.notification.claimed_at) == ("ref", None)


@pytest.mark.parametrize(
    ("attempts", "first", "left"), [(1, NOW - FOUR_HOURS, None), (3, NOW - FOUR_HOURS, NOW - FOUR_HOURS)]
)
def test_a_message_for_which_no_line_was_free_waits_and_uses_up_no_try(attempts, first, left):
    item = claimed(first=first, attempts=attempts)
    message = after(item, Result(Outcome.TRY_LATER, "no connection was free", begun=False))
    assert (message.status, message.status_reason) == ("created", "try later: no connection was free")
    assert (message.attempts, message.first_attempt_at, message.claimed_at) == (attempts - 1, left, None)
    assert NOW < message.due_at <= NOW + 12 * SECOND


@pytest.mark.parametrize(("recipient", "status"), [("+14155550123", "sent"), ("+447700900123", "pending")])
def test_a_pending_report_that_was_faster_counts_as_it_would_have_counted_later(recipient, status):
    """For a message abroad our own “sent” ranks above it, in whichever order they are written."""
    item = claimed(recipient=recipient)
    type(item.notification).objects.filter(pk=item.notification.pk).update(status="pending", due_at=None)
    assert after(item, Result(Outcome.ACCEPTED)).status == status


@pytest.mark.parametrize(
    "changed", [{"claimed_at": NOW + SECOND}, {"claimed_at": None}, {"attempts": 2}, {"sent_at": NOW - SECOND}]
)
def test_a_late_answer_is_not_noted_where_somebody_else_has_the_message_or_noted_it(changed):
    item = claimed()
    move = results.move(item, Result(Outcome.ACCEPTED, provider_reference="ref"), now=NOW)
    type(item.notification).objects.filter(pk=item.notification.pk).update(status="delivered", **changed)
    results.note_late([move])
    item.notification.refresh_from_db()
    assert (item.notification.sent_at, item.notification.provider_reference) == (changed.get("sent_at"), "")


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("changed", [{"claimed_at": NOW + SECOND}, {"claimed_at": None}, {"attempts": 2}])
def test_a_worker_past_its_lease_changes_nothing(outcome, changed):
    item = claimed()
    type(item.notification).objects.filter(pk=item.notification.pk).update(**changed)
    before = type(item.notification).objects.filter(pk=item.notification.pk).values().get()
    assert settle([results.move(item, Result(outcome, "late"), now=NOW)], now=NOW) == {}
    assert type(item.notification).objects.filter(pk=item.notification.pk).values().get() == before
