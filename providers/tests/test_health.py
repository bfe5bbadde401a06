"""What the health page counts: every edge, and the same rule as the watchdog's."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notify.testing import make_notification, make_provider, make_template
from providers import switching
from providers.health import CHANGES_SHOWN, SPANS, health
from providers.models import Provider, ProviderChange, SwitchPolicy

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
NOON = NOW.replace(second=0)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def mmg():
    return make_provider("mmg")


def sent(at, *, status="delivered", after=20 * SECOND, provider="mmg", **fields):
    took = {"delivered_at": at + after} if status == "delivered" else {}
    times = {"created_at": at, "sent_at": at, "updated_at": at + after} | took
    return make_notification(template=fields.pop("template"), status=status, provider_name=provider, **times, **fields)


def change(provider, at, before, after, **fields):
    return ProviderChange.objects.create(
        provider=provider, share_before=before, share_after=after, created_at=at, **({"reason": "x"} | fields)
    )


@pytest.mark.parametrize(("hours", "buckets"), [(1, 60), (6, 72), (24, 96), (168, 84)])
def test_the_time_is_cut_into_whole_buckets_up_to_now(mmg, hours, buckets):
    seen = health(mmg, hours=hours, now=NOW)
    assert len(seen.buckets) == len(seen.ratios) == buckets
    assert seen.end - seen.start == hours * HOUR
    assert seen.buckets[-1].at <= NOW < seen.end
    assert [after.at - before.at for before, after in pairwise(seen.buckets)] == [SPANS[hours]] * (buckets - 1)


def test_a_bucket_holds_its_start_and_not_its_end(mmg):
    template = make_template()
    for at in (NOON - 2 * MINUTE, NOON - MINUTE - SECOND / 1_000, NOON - MINUTE, NOON - HOUR - SECOND, NOW + SECOND):
        sent(at, template=template)
    found = {bucket.at: bucket.sent for bucket in health(mmg, hours=1, now=NOW).buckets if bucket.sent}
    assert found == {NOON - 2 * MINUTE: 2, NOON - MINUTE: 1}


def test_messages_are_counted_by_what_became_of_them_and_only_this_providers(mmg):
    template, at = make_template(), NOON - 20 * MINUTE
    for status in ("delivered", "sending", "pending", "sent", "permanent-failure", "temporary-failure",
                   "technical-failure"):  # fmt: skip
        sent(at, status=status, template=template)
    sent(at, after=4 * MINUTE, template=template)  # slow at the edge
    sent(at, after=4 * MINUTE - SECOND, template=template)
    sent(at, provider="firetext", template=template)
    sent(at, template=make_template(notification_type="email"))
    (bucket,) = [one for one in health(mmg, hours=1, now=NOW).buckets if one.sent]
    assert (bucket.sent, bucket.delivered, bucket.failed, bucket.on_the_way) == (9, 3, 3, 3)
    assert (bucket.judged, bucket.slow) == (5, 3)  # the late one, and the two still on the way
    assert health(mmg, hours=1, now=NOW).totals.ratio == 3 / 5


def test_the_curve_is_the_rules_own_ratio_in_hindsight(mmg):
    template = make_template()
    for minute in range(20):
        for after in (20 * SECOND, 30 * MINUTE if minute % 3 else SECOND):
            sent(NOON - minute * MINUTE - SECOND, after=after, template=template)
    ratios = dict(health(mmg, hours=1, now=NOON + 50 * MINUTE).ratios)
    assert ratios[NOON] == 6 / 20  # of the minutes 0 to 9 all but 0, 3, 6 and 9 have one slow message of two
    assert ratios[NOON - 7 * MINUTE] == 7 / 20
    # Where nothing was handed over in the last `slow_after`, hindsight and the watchdog see the same.
    slow, total = switching.samples(SwitchPolicy(notification_type="sms"), now=NOON + 5 * MINUTE)["mmg"]
    assert ratios[NOON + 5 * MINUTE] == slow / total == 3 / 10


def test_fewer_messages_than_the_sample_are_a_gap(mmg):
    template = make_template()
    for _ in range(9):
        sent(NOON - 5 * MINUTE, template=template)
    assert {ratio for _, ratio in health(mmg, hours=1, now=NOW).ratios} == {None}
    sent(NOON - 5 * MINUTE, template=template)
    assert {ratio for _, ratio in health(mmg, hours=1, now=NOW).ratios} == {None, 0.0}


def test_messages_of_just_before_the_time_are_judged_in_its_first_minutes(mmg):
    start, template = health(mmg, hours=1, now=NOW).start, make_template()
    for _ in range(10):
        sent(start - SECOND, template=template)
    seen = health(mmg, hours=1, now=NOW)
    assert seen.ratios[0] == (start + MINUTE, 0.0)
    assert seen.totals.sent == 0


def test_a_stored_policy_decides_what_is_slow(mmg):
    sent(NOON - 20 * MINUTE, after=2 * MINUTE, template=make_template())
    assert health(mmg, hours=1, now=NOW).totals.slow == 0
    SwitchPolicy.objects.create(notification_type="sms", slow_after=2 * MINUTE)
    assert health(mmg, hours=1, now=NOW).totals.slow == 1


def test_a_policy_with_a_window_of_years_still_has_a_page(mmg):
    SwitchPolicy.objects.create(notification_type="sms", window=timedelta(days=999_999))
    assert health(mmg, hours=1, now=NOW).judged_over == timedelta(days=1)


def test_shares_start_as_they_were_and_changes_are_newest_first(mmg):
    start = health(mmg, hours=1, now=NOW).start
    assert health(mmg, hours=1, now=NOW).shares == [(start, 50)]
    change(mmg, start - SECOND, 50, 20)
    assert health(mmg, hours=1, now=NOW).shares == [(start, 20)]
    change(make_provider("firetext"), NOON, 50, 90)
    change(mmg, start, 20, 30)
    change(mmg, NOON, 30, 0)
    seen = health(mmg, hours=1, now=NOW)
    assert seen.shares == [(start, 20), (start, 30), (NOON, 0)]
    assert [one.share_after for one in seen.changes] == [0, 30]


def test_more_changes_than_are_listed_are_all_in_the_curve(mmg):
    for number in range(CHANGES_SHOWN + 20):
        change(mmg, NOON - (130 - number) * MINUTE, number % 100, (number + 1) % 100)
    seen = health(mmg, hours=6, now=NOW)
    assert len(seen.changes) == CHANGES_SHOWN
    assert seen.changes[0].created_at == NOON - 11 * MINUTE
    assert len(seen.shares) == CHANGES_SHOWN + 21
    assert seen.shares[:2] == [(seen.start, 0), (NOON - 130 * MINUTE, 1)]


def test_one_that_is_off_has_no_share(mmg):
    Provider.objects.update(active=False)
    mmg.refresh_from_db()
    assert [share for _, share in health(mmg, hours=1, now=NOW).shares] == [0]


@pytest.mark.parametrize("hours", SPANS)
def test_four_queries_however_much_there_is(mmg, hours):
    def queries():
        with CaptureQueriesContext(connection) as caught:
            health(mmg, hours=hours, now=NOW)
        return len(caught)

    assert queries() <= 4
    template = make_template()
    for minute in range(30):
        sent(NOON - minute * MINUTE, template=template)
        change(mmg, NOON - minute * MINUTE, 1, 2)
    assert queries() <= 4


def test_messages_are_found_by_the_index_on_when_they_were_sent(mmg):
    with CaptureQueriesContext(connection) as caught, connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        health(mmg, hours=6, now=NOW)
        counted = next(query["sql"] for query in caught if "date_bin" in query["sql"])
        cursor.execute(f"EXPLAIN {counted}")
        assert "notification_sent" in str(cursor.fetchall())
