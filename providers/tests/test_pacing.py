"""A provider's rate limit holds over all workers, and what is over it waits without being claimed."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection, transaction

from notify.models import Notification
from notify.testing import make_notification, make_provider, make_template
from notify.tests.together import together
from providers import claiming, receipts
from providers.backends import client_session
from providers.models import Provider
from providers.pacing import take_moments
from providers.sending import Sending

NOW = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rate", "wanted", "given"), [(10, 9, 9), (10, 10, 10), (10, 11, 10), (0.5, 3, 1), (1, 0, 0), (300, 1_000, 300)]
)
def test_a_second_holds_as_many_moments_as_the_limit_says(rate, wanted, given):
    provider = make_provider(rate_limit=rate)
    moments = take_moments(provider, wanted, now=NOW)
    assert len(moments) == given
    assert moments == sorted(moments)
    assert all(NOW <= moment < NOW + SECOND for moment in moments)


@pytest.mark.django_db
def test_moments_are_evenly_spaced_and_never_given_twice():
    provider, given = make_provider(rate_limit=4), []
    for tenth in range(40):
        given += take_moments(provider, 3, now=NOW + tenth * SECOND / 10)
    assert {later - earlier for earlier, later in pairwise(given)} == {SECOND / 4}
    assert len(given) == 20  # the first second ahead, then four a second for 3.9 seconds


@pytest.mark.django_db
def test_a_limit_that_rested_does_not_save_moments_up():
    provider = make_provider(rate_limit=2, paced_until=NOW - timedelta(hours=1))
    assert take_moments(provider, 10, now=NOW) == [NOW, NOW + SECOND / 2]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ahead", "first"),
    [(SECOND / 2, SECOND / 2), (32 * SECOND, None), (32.000001 * SECOND, 0 * SECOND), (3_600 * SECOND, 0 * SECOND)],
)
def test_a_clock_that_was_ahead_does_not_stop_a_provider(ahead, first):
    """A second ahead, one between two moments, and thirty by which clocks may differ."""
    provider = make_provider(rate_limit=1, paced_until=NOW + ahead)
    assert take_moments(provider, 1, now=NOW) == ([] if first is None else [NOW + first])


@pytest.mark.django_db
def test_a_limit_lifted_meanwhile_gives_everything_at_once():
    provider = make_provider(rate_limit=1)
    Provider.objects.update(rate_limit=None)
    assert take_moments(provider, 3, now=NOW) == [NOW] * 3


@pytest.mark.django_db
def test_what_is_over_the_limit_stays_due_and_untouched():
    make_provider(rate_limit=3)
    template = make_template()
    for _ in range(10):
        make_notification(template=template, due_at=NOW)
    work = Sending()
    claimed = work.claim(10, NOW)
    assert sorted(item.begins_at for item in claimed)[0] == NOW
    assert len(claimed) == 3
    left = Notification.objects.filter(claimed_at__isnull=True)
    assert set(left.values_list("attempts", "due_at", "provider_name")) == {(0, NOW, "")}
    assert work.claim(10, NOW) == []
    assert len(work.claim(10, NOW + SECOND)) == 3


@pytest.mark.django_db
def test_a_provider_without_a_limit_carries_what_the_limited_one_may_not():
    make_provider("mmg", rate_limit=1)
    make_provider("firetext")
    template = make_template()
    for _ in range(40):
        make_notification(template=template, due_at=NOW)
    by_provider = {}
    for _ in range(12):
        for item in Sending().claim(40, NOW):
            by_provider.setdefault(item.provider.identifier, []).append(item)
    assert len(by_provider["mmg"]) == 1
    assert len(by_provider["firetext"]) == 39
    assert {item.begins_at for item in by_provider["firetext"]} == {None}


@pytest.mark.django_db
def test_what_waits_for_a_limited_provider_hides_neither_another_channel_nor_another_service():
    make_provider("mmg", rate_limit=10)
    make_provider("email")
    big, few = make_template(), make_template()
    email = make_template(big.service, "email")
    for number in range(150):
        make_notification(template=big, due_at=NOW - timedelta(hours=1) + number * timedelta(milliseconds=1))
    emails = {str(make_notification(template=email, due_at=NOW).pk) for _ in range(5)}
    small = {str(make_notification(template=few, due_at=NOW).pk) for _ in range(5)}
    claimed = set()
    for turn in range(4):
        claimed |= {item.notification.pk for item in Sending().claim(100, NOW + turn * SECOND)}
    assert emails <= claimed
    assert len(small & claimed) >= 3  # of 40 that were claimed, by chance about half while they last
    assert len(claimed) <= 5 + 40


@pytest.mark.django_db(transaction=True)
def test_receipts_come_in_while_a_provider_is_being_claimed_for():
    provider = make_provider(rate_limit=1)

    def hold():
        with transaction.atomic():
            take_moments(provider, 1, now=NOW)
            Provider.objects.locked("sms")
            return together(lambda: receipts.store(provider, b"{}", "application/json", now=NOW))

    hold()
    assert provider.receipt_set.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_the_limit():
    provider = make_provider(rate_limit=50)

    def take():
        with transaction.atomic():
            return take_moments(provider, 40, now=NOW)

    first, second = together(take, take)
    assert len(first) + len(second) == 50
    assert not set(first) & set(second)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("first", "second"), [("firetext", "mmg"), ("email", "mmg")])
def test_a_claim_and_a_rule_never_wait_for_each_other_in_a_circle(first, second, monkeypatch):
    """A rule has one provider's row and wants the next; a claim that waits for the first has not taken that one."""
    monkeypatch.setattr(claiming.random, "sample", lambda kinds, k: sorted(kinds, reverse=True))  # SMS before email
    for name in (second, first):
        make_provider(name, rate_limit=10)
    texts = make_template()
    for template in [texts, make_template(texts.service, "email")] * 30:
        make_notification(template=template, due_at=NOW)

    locked = threading.Event()

    def rule():
        with transaction.atomic():
            Provider.objects.select_for_update(no_key=True).get(identifier=first)
            locked.set()
            _wait_until_somebody_waits_for_us()
            return Provider.objects.select_for_update(no_key=True).get(identifier=second).identifier

    def claim():
        locked.wait(60)
        return len(Sending().claim(60, NOW)) > 0

    assert together(rule, claim) == [second, True]


def _wait_until_somebody_waits_for_us():
    """Give up after a while: one that waits for nothing is no failure of this."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
    for _ in range(200):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)


@pytest.mark.django_db
def test_a_claim_takes_no_more_than_asked_for_where_limits_part_the_channels():
    make_provider("mmg", rate_limit=3)
    make_provider("email")
    texts = make_template()
    for template in [texts, make_template(texts.service, "email")] * 10:
        make_notification(template=template, due_at=NOW)
    assert len(Sending().claim(5, NOW)) == 5
    assert Notification.objects.filter(claimed_at__isnull=False).count() == 5


@pytest.mark.django_db
def test_a_claimed_message_is_sent_at_its_moment(settings):
    make_provider(rate_limit=5, config={"url": "http://127.0.0.1:9/", "api_key": "x"})
    template = make_template()
    for _ in range(3):
        make_notification(template=template)
    work = Sending()
    items = work.claim(10, datetime.now(UTC))

    async def all_of_them():
        async with client_session(limit=10) as session:

            async def one(item):
                await work.act(item, session)
                return datetime.now(UTC) - item.begins_at

            return await asyncio.gather(*[one(item) for item in items])

    begins = sorted(item.begins_at for item in items)
    assert begins[2] - begins[0] == timedelta(seconds=0.4)
    assert min(asyncio.run(all_of_them())) > timedelta(seconds=-0.01)  # the two clocks differ by a hair
