"""The ladder of tries, leases and claims of delivering, by the clock."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks import delivery
from callbacks.client import Answer
from callbacks.models import Callback, Endpoint
from notify.models import Alert
from notify.tests.together import together

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
WAITS = [timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)]


def again(callback: Callback) -> Callback:
    callback.refresh_from_db()
    return callback


def attempt(now: datetime, status: int = 500) -> list[Callback]:
    """Claim what is due at a moment and write that the receiver answered so a second later."""
    work = delivery.Delivery()
    claimed = work.claim(100, now)
    work.finish([(item, Answer(status)) for item in claimed], now + SECOND)
    return [item.callback for item in claimed]


def test_the_ladder_of_waits_and_giving_up_after_the_last(waiting):
    (callback,) = waiting(at=NOW)
    moment = NOW
    for tries, wait in enumerate(WAITS, start=1):
        assert attempt(moment) == [callback]
        assert (again(callback).status, callback.attempts) == ("pending", tries)
        waited = callback.due_at - (moment + SECOND)
        assert 0.8 * wait <= waited <= 1.2 * wait
        assert attempt(callback.due_at - timedelta(microseconds=1)) == []
        moment = callback.due_at
        assert not Alert.objects.exists()
    assert attempt(moment) == [callback]
    assert (again(callback).status, callback.attempts, callback.last_status_code) == ("exhausted", 10, 500)
    assert attempt(moment + timedelta(days=30)) == []
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.times_seen) == ("callback-exhausted", f"endpoint {callback.endpoint_id}", 1)


def test_waits_are_not_all_the_same(waiting):
    rows = waiting(count=20, at=NOW)
    attempt(NOW)
    assert len({again(row).due_at for row in rows}) > 10


def test_several_given_up_at_one_endpoint_are_one_alert(waiting):
    rows = [*waiting(count=3, at=NOW), *waiting(at=NOW)]
    Callback.objects.update(attempts=9)
    attempt(NOW)
    assert {again(row).status for row in rows} == {"exhausted"}
    assert set(Alert.objects.values_list("scope", "times_seen")) == {(f"endpoint {row.endpoint_id}", 1) for row in rows}
    (later,) = waiting(at=NOW)
    Callback.objects.filter(pk=later.pk).update(attempts=9, endpoint=rows[0].endpoint)
    attempt(NOW + SECOND)
    assert Alert.objects.get(scope=f"endpoint {rows[0].endpoint_id}").times_seen == 2


def test_delivered_at_the_last_try_is_no_alert_although_others_were_given_up(waiting):
    first, second = waiting(count=2, at=NOW)
    Callback.objects.filter(pk=first.pk).update(status="exhausted", attempts=10)
    Callback.objects.filter(pk=second.pk).update(attempts=9)
    attempt(NOW, status=200)
    assert again(second).status == "delivered"
    assert not Alert.objects.exists()


def test_a_replayed_callback_that_fails_again_is_given_up_again(waiting):
    (callback,) = waiting(at=NOW)
    Callback.objects.update(status="exhausted", attempts=10)
    assert Callback.objects.all().move_to("pending", now=NOW, due_at=NOW)
    attempt(NOW)
    assert again(callback).status == "exhausted"


def test_a_lapsed_lease_is_tried_again_under_the_same_id(receiver, waiting):
    (callback,) = waiting(at=NOW)
    dead = delivery.Delivery().claim(10, NOW)
    assert (again(callback).due_at, callback.claimed_at, callback.attempts) == (NOW + LEASE, NOW, 1)
    assert delivery.Delivery().claim(10, NOW + LEASE - timedelta(microseconds=1)) == []
    (item,) = delivery.Delivery().claim(10, NOW + LEASE)
    assert (item.callback.attempts, item.callback.pk) == (2, dead[0].callback.pk)
    delivery.Delivery().finish([(item, Answer(500))], NOW + LEASE + SECOND)
    Callback.objects.update(due_at=NOW)
    delivery.deliver_due()
    assert [request.headers["webhook-id"] for request in receiver.received] == [str(callback.pk)]


@pytest.mark.parametrize("status", [200, 500])
def test_a_worker_past_its_lease_changes_nothing(waiting, status):
    (callback,) = waiting(at=NOW)
    late = delivery.Delivery()
    claimed = late.claim(10, NOW)
    delivery.Delivery().claim(10, NOW + LEASE)
    before = Callback.objects.values().get()
    late.finish([(claimed[0], Answer(status))], NOW + LEASE + SECOND)
    assert Callback.objects.values().get() == before
    assert again(callback).attempts == 2


def test_a_claim_that_is_given_back_uses_up_no_try_and_frees_its_endpoints_place(waiting, settings):
    settings.CALLBACK_CONCURRENCY = 2  # half of it for one endpoint
    waiting(count=2, at=NOW)
    work = delivery.Delivery()
    claimed = work.claim(10, NOW)
    assert (len(claimed), work.claim(10, NOW)) == (1, [])
    work.give_back(claimed, NOW + SECOND)
    given = Callback.objects.get(pk=claimed[0].callback.pk)
    assert (given.status, given.attempts, given.claimed_at, given.due_at) == ("pending", 0, None, NOW + SECOND)
    assert len(work.claim(10, NOW + SECOND)) == 1
    delivery.Delivery().give_back(claimed, NOW)  # somebody else's by now, or nobody's
    assert Callback.objects.filter(claimed_at=NOW + SECOND, attempts=1).count() == 1


def test_an_error_of_our_own_is_a_failed_try(waiting):
    (callback,) = waiting(at=NOW)
    work = delivery.Delivery()
    (item,) = work.claim(10, NOW)
    work.finish([(item, ValueError("private words"))], NOW)
    assert (again(callback).status, callback.last_error) == ("pending", "ValueError")


def test_claims_are_bounded_and_fair_between_endpoints(waiting, settings):
    settings.CALLBACK_CONCURRENCY = 10
    waiting(count=30, at=NOW - timedelta(hours=1))
    waiting(count=30, at=NOW - timedelta(minutes=30))
    few = waiting(count=3, at=NOW)
    work = delivery.Delivery()
    keys = {item.callback.pk for item in work.claim(10, NOW)}
    assert len(keys) == 10
    assert {row.pk for row in few} <= keys
    assert len(delivery.Delivery().claim(0, NOW)) == 0


def test_a_claim_takes_a_few_queries_whatever_it_claims(waiting, django_assert_max_num_queries):
    waiting(count=40, at=NOW)
    work = delivery.Delivery()
    with django_assert_max_num_queries(5):
        claimed = work.claim(100, NOW)
    assert len(claimed) == 40
    with django_assert_max_num_queries(6):
        work.finish([(item, Answer(200)) for item in claimed], NOW)


def test_due_names_what_would_be_delivered(waiting):
    rows = waiting(count=2, at=NOW)
    waiting(at=NOW + SECOND)
    waiting(at=NOW - SECOND, active=True)
    Endpoint.objects.order_by("-pk").first().callbacks.update(status="delivered")
    found = delivery.due(now=NOW)
    assert (found.count, found.oldest, sorted(found.keys)) == (2, NOW, sorted(str(row.pk) for row in rows))


@pytest.mark.django_db(transaction=True)
def test_two_workers_claim_different_callbacks(waiting):
    for _ in range(3):
        waiting(count=10, at=NOW)

    def claim():
        return [item.callback.pk for item in delivery.Delivery().claim(20, NOW)]

    first, second = together(claim, claim)
    assert not set(first) & set(second)
    assert Callback.objects.filter(attempts=1).count() == len(first) + len(second)
