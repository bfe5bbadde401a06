"""What a replay reads: exactly what the watchdog saw at each minute, and nothing that is not there any more."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from notify.models import DataRetention, Notification
from notify.testing import make_notification, make_provider, make_service, make_template
from providers import backtest, switching
from providers.models import Provider, ProviderChange, SwitchPolicy
from providers.replay_values import Sample

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
Status = Notification.Status


def policy(**fields):
    return SwitchPolicy(notification_type="sms", **fields)


@pytest.fixture
def template():
    make_provider("mmg"), make_provider("firetext")
    return make_template()


def sent(template, at, *, provider="mmg", after=None, status="delivered", known=None, save=True):
    """Make a message sent at a moment; after: how long it took; known: how long until we knew."""
    took = {} if after is None else {"delivered_at": at + after, "updated_at": at + (known or after)}
    row = {"status": status, "provider_name": provider, "sent_at": at, "created_at": at, "due_at": None} | took
    if save:
        return make_notification(template=template, **row)
    fields = {"service": template.service, "template": template, "template_version": 1, "notification_type": "sms"}
    return Notification(**fields, **row)


def seen_by_the_replay(judged, start, end):
    """Return what the replay's samples are at every minute."""
    samples, found = {"mmg": Sample(), "firetext": Sample()}, []
    with transaction.atomic():
        groups = list(backtest.groups(judged, start, end))
    for minute in range((end - start) // MINUTE + 1):
        for group in groups:
            if max(group.entered, 0) == minute:
                samples[group.provider].add(group, minute)
        for sample in samples.values():
            sample.advance(minute)
        found.append({name: (sample.slow, sample.total) for name, sample in samples.items() if sample.total})
    return found


def as_of(row, moment):
    """Return what the row's status was at an earlier moment."""
    if row.sent_at > moment:
        return {"status": Status.CREATED, "sent_at": None, "delivered_at": None}
    if row.status == Status.SENT:  # abroad: so from the start
        return {}
    if row.status in (Status.SENDING, Status.PENDING) or row.updated_at > moment:
        return {"status": Status.SENDING, "delivered_at": None}
    return {}


@pytest.mark.parametrize("fields", [{}, {"window": 5 * MINUTE + SECOND, "slow_after": 90 * SECOND}])
def test_at_every_minute_the_replay_sees_what_the_watchdog_saw(template, fields):
    chance = random.Random(2026)
    start, judged, rows = NOW - 40 * MINUTE, policy(**fields), []
    for _ in range(250):
        # Whole seconds, so that edges are met: sent on the minute, arrived after exactly `slow_after`.
        at = start + chance.randint(-900, 2_400) * SECOND
        after = chance.choice([30, 89, 90, 91, 239, 240, 241, 400, 2_000]) * SECOND
        known = after + chance.choice([0, 1, 60, 500]) * SECOND
        status = chance.choice(["delivered", "delivered", "sending", "pending", "temporary-failure", "sent"])
        provider = chance.choice(["mmg", "firetext"])
        rows.append(sent(template, at, provider=provider, after=after, known=known, status=status, save=False))
    Notification.objects.bulk_create(rows)
    replayed = seen_by_the_replay(judged, start, NOW)
    for minute in range(0, 41, 4):
        moment = start + minute * MINUTE
        with transaction.atomic():
            for row in rows:
                if change := as_of(row, moment):
                    Notification.objects.filter(pk=row.pk).update(**change)
            assert switching.samples(judged, now=moment) == replayed[minute], minute
            transaction.set_rollback(True)


def test_messages_of_before_the_start_are_in_the_first_samples_and_carried_by_nobody(template):
    start = NOW - DAY
    for age in (10 * MINUTE, 10 * MINUTE + SECOND, MINUTE):
        sent(template, start - age, after=5 * MINUTE)
    assert seen_by_the_replay(policy(), start, NOW)[0] == {"mmg": (1, 2)}
    assert backtest.backtest(policy(), days=1, now=NOW).carried["mmg"].sent == 0


def test_a_slow_hour_is_found_with_its_messages(template):
    Notification.objects.bulk_create(
        sent(template, NOW - 300 * MINUTE + minute * MINUTE, provider=provider, save=False,
             after=8 * MINUTE if provider == "mmg" and 60 <= minute < 120 and number < 3 else 20 * SECOND)
        for minute in range(240) for provider in ("mmg", "firetext") for number in range(6)
    )  # fmt: skip
    done = backtest.backtest(policy(), days=1, now=NOW + 30 * SECOND)
    assert [(switch.at, switch.slow) for switch in done.switches] == [(NOW - 300 * MINUTE + 68 * MINUTE, ("mmg",))]
    assert done.carried["mmg"].sent == 6 * 240
    assert (done.carried["mmg"].while_slow, done.carried["mmg"].replayed) == (6 * 58, 6)
    assert set(Provider.objects.values_list("share", flat=True)) == {50}  # it only reads
    assert not ProviderChange.objects.exists()


def test_shares_start_as_they_were_and_peoples_changes_are_made_again(template):
    person = User.objects.create(username="operator")
    mmg, firetext = Provider.objects.get(identifier="mmg"), Provider.objects.get(identifier="firetext")
    three = make_provider("third", share=30)
    for provider, age, before, after, by in (
        (mmg, 3, 50, 20, None), (mmg, 0.5, 20, 70, person), (firetext, 0.25, 80, 90, None), (three, 5, 40, 0, person),
    ):  # fmt: skip
        ProviderChange.objects.create(
            provider=provider, share_before=before, share_after=after, changed_by=by, reason="x",
            created_at=NOW - age * DAY - SECOND,
        )  # fmt: skip
    done = backtest.backtest(policy(), days=1, now=NOW)
    firsts = {name: points[0].share for name, points in done.curves.items()}
    assert firsts == {"firetext": round(100 * 70 / 100), "mmg": round(100 * 30 / 100), "third": 0}
    assert [(change.minute, change.identifier, change.share) for change in done.hand_changes] == [(720, "mmg", 70)]
    assert next(carrier for carrier in done.carriers if carrier.identifier == "third").out


def test_a_provider_that_was_always_off_stays_out(template):
    make_provider("third", active=False)
    make_provider("letters", notification_type="letter")
    done = backtest.backtest(policy(), days=1, now=NOW)
    assert {carrier.identifier: carrier.out for carrier in done.carriers} == {
        "firetext": False, "mmg": False, "third": True
    }  # fmt: skip


def test_the_queries_do_not_grow_with_the_messages(template):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as caught:
            backtest.backtest(policy(), days=7, now=NOW)
        return len(caught)

    few = queries()
    Notification.objects.bulk_create(
        sent(template, NOW - number * MINUTE, save=False, after=SECOND * number) for number in range(1, 500)
    )
    assert queries() == few


def test_counting_stops_behind_the_limit(template):
    for number in range(4):
        sent(template, NOW - number * DAY)
    assert backtest.messages_since("sms", NOW - 2 * DAY, limit=10) == 3  # the edge included
    assert backtest.messages_since("sms", NOW - 9 * DAY, limit=2) == 3
    assert backtest.messages_since("email", NOW - 9 * DAY, limit=2) == 0


def test_days_past_retention_are_said(settings):
    settings.RETENTION_DAYS = 7
    assert backtest.note_on_retention("sms", 7) == ""
    assert "8 days are asked for" in backtest.note_on_retention("sms", 8)
    DataRetention.objects.create(service=make_service(), notification_type="sms", days=3)
    assert "kept for 3" in backtest.note_on_retention("sms", 4)
    assert backtest.note_on_retention("sms", 3) == backtest.note_on_retention("email", 4) == ""
