"""Leaving a slow provider, coming back, pausing: every edge of the rule."""

from datetime import UTC, datetime, timedelta

import pytest

from notify.models import Alert, Notification
from notify.testing import make_notification, make_provider, make_template
from notify.tests.together import together
from providers import pausing, sending, switching
from providers.models import Pause, Provider, ProviderChange, SwitchPolicy
from providers.switching import Standing, Verdict, decide, tend

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
POLICY = SwitchPolicy(notification_type="sms")


def standings(mmg, firetext, **fields):
    return [Standing("mmg", mmg[0], slow=mmg[1], total=mmg[2], **fields),
            Standing("firetext", firetext[0], slow=firetext[1], total=firetext[2])]  # fmt: skip


@pytest.mark.parametrize(
    ("slow", "total", "verdict"),
    [(2, 10, Verdict.MOVE), (1, 10, Verdict.FINE), (2, 9, Verdict.FINE), (9, 9, Verdict.FINE), (0, 0, Verdict.FINE),
     (199, 1_000, Verdict.FINE), (200, 1_000, Verdict.MOVE)],
)  # fmt: skip
def test_slow_means_a_fifth_of_at_least_ten(slow, total, verdict):
    found = decide(standings((50, slow, total), (50, 0, 10)), POLICY, last_change=None, now=NOW)
    assert found.verdict == verdict
    assert found.shares == ({"mmg": 0, "firetext": 100} if verdict == Verdict.MOVE else {})


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [(NOW - 10 * MINUTE, Verdict.SETTLING), (NOW - 10 * MINUTE - SECOND, Verdict.MOVE), (NOW, Verdict.SETTLING)],
)
def test_nothing_moves_within_ten_minutes_of_a_change(changed, verdict):
    slow = standings((50, 10, 10), (50, 0, 10))
    assert decide(slow, POLICY, last_change=changed, now=NOW).verdict == verdict


def test_all_slow_is_said_and_nothing_moves_also_of_one_alone():
    both = standings((50, 10, 10), (50, 10, 10))
    assert decide(both, POLICY, last_change=None, now=NOW).verdict == Verdict.ALL_SLOW
    assert decide(both[:1], POLICY, last_change=None, now=NOW).verdict == Verdict.ALL_SLOW
    assert decide([], POLICY, last_change=None, now=NOW).verdict == Verdict.FINE


def test_a_held_one_neither_gives_nor_receives():
    held_slow = standings((50, 10, 10), (50, 0, 10), held=True)
    assert decide(held_slow, POLICY, last_change=None, now=NOW).verdict == Verdict.HELD
    held_receiver = [Standing("mmg", 50, slow=10, total=10), Standing("firetext", 50, held=True, total=10)]
    assert decide(held_receiver, POLICY, last_change=None, now=NOW).verdict == Verdict.HELD


def test_a_step_moves_part_and_spreads_evenly_never_over_a_hundred():
    policy = SwitchPolicy(notification_type="sms", step=25)
    three = [Standing("a", 50, slow=10, total=10), Standing("b", 90), Standing("c", 0)]
    assert decide(three, policy, last_change=None, now=NOW).shares == {"a": 25, "b": 100, "c": 12}


@pytest.mark.parametrize(
    ("share", "resting", "after"), [(0, 50, 10), (45, 50, 50), (50, 50, 50), (100, 50, 90), (3, 0, 0)]
)
def test_shares_tend_to_rest_by_ten_at_most(share, resting, after):
    assert tend(share, resting, 10) == after


@pytest.fixture
def providers(db):
    return make_provider("mmg"), make_provider("firetext")


def sent(count, *, provider="mmg", age=MINUTE, template, **fields):
    for _ in range(count):
        defaults = {"status": "delivered", "provider_name": provider, "sent_at": NOW - age, "created_at": NOW - age}
        make_notification(template=template, **(defaults | fields))


def test_what_counts_as_slow(providers):
    template = make_template()
    four, ten = 4 * MINUTE, 10 * MINUTE
    sent(1, template=template, age=ten, delivered_at=NOW - ten + four)  # at both edges: slow
    sent(1, template=template, age=ten + SECOND, delivered_at=NOW)  # outside the window
    sent(1, template=template, age=ten, delivered_at=NOW - ten + four - SECOND, updated_at=NOW)  # the provider's time
    sent(1, template=template, age=ten, updated_at=NOW - ten + four)  # no time of its own: our last change
    sent(1, template=template, age=four, status="sending")
    sent(1, template=template, age=four, status="pending")
    sent(1, template=template, age=four - SECOND, status="pending")
    sent(2, template=template, age=ten, status="permanent-failure", delivered_at=NOW)
    sent(2, template=template, age=ten, status="sent", delivered_at=NOW)
    sent(1, template=template, provider="firetext", age=MINUTE, delivered_at=NOW)
    assert switching.samples(POLICY, now=NOW) == {"mmg": (4, 6), "firetext": (0, 1)}


def test_traffic_moves_once_with_its_record(providers):
    sent(10, template=make_template(), age=5 * MINUTE, status="sending")
    assert switching.switch_on_slow_delivery(now=NOW) == {"found": 1, "repaired": 2}
    assert dict(Provider.objects.values_list("identifier", "share")) == {"mmg": 0, "firetext": 100}
    changes = ProviderChange.objects.order_by("share_before", "-share_after")
    assert sorted((change.share_before, change.share_after) for change in changes) == [(50, 0), (50, 100)]
    assert "mmg (10 of 10 messages)" in changes[0].reason
    assert switching.switch_on_slow_delivery(now=NOW + MINUTE)["repaired"] == 0


def test_all_slow_opens_one_alert_that_closes_by_itself(providers):
    template = make_template()
    for name in ("mmg", "firetext"):
        sent(10, template=template, provider=name, age=5 * MINUTE, status="sending")
    switching.switch_on_slow_delivery(now=NOW)
    Provider.objects.filter(identifier="mmg").update(active=False)
    switching.switch_on_slow_delivery(now=NOW)
    assert Alert.objects.open().get().kind == "providers-all-slow"
    assert set(Provider.objects.values_list("share", flat=True)) == {50}
    Notification.objects.all().delete()
    switching.switch_on_slow_delivery(now=NOW)
    assert not Alert.objects.open().exists()


def test_a_held_slow_one_is_said_also_when_traffic_leaves_another_at_the_same_tick(providers):
    template = make_template()
    make_provider("third", backend="providers.backends.mmg.MMG", notification_type="sms")
    for name in ("mmg", "firetext"):
        sent(10, template=template, provider=name, age=5 * MINUTE, status="sending")
    Provider.objects.filter(identifier="firetext").update(held_until=NOW + SECOND)
    switching.switch_on_slow_delivery(now=NOW)
    assert dict(Provider.objects.values_list("identifier", "share")) == {"mmg": 0, "firetext": 50, "third": 100}
    alert = Alert.objects.open().get()
    assert (alert.kind, alert.message.split()[0]) == ("provider-slow-held", "firetext")


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_change_once():
    make_provider("mmg"), make_provider("firetext")
    sent(10, template=make_template(), age=5 * MINUTE, status="sending")
    answers = together(*[lambda: switching.switch_on_slow_delivery(now=NOW)] * 2)
    assert sorted(answer["repaired"] for answer in answers) == [0, 2]
    assert ProviderChange.objects.count() == 2


def test_shares_come_back_an_hour_after_the_last_change(providers):
    mmg, _ = providers
    Provider.objects.filter(pk=mmg.pk).update(share=0)
    ProviderChange.objects.create(provider=mmg, share_before=50, share_after=0, reason="x", created_at=NOW)
    assert switching.tend_to_middle(now=NOW + 59 * MINUTE) == 0
    assert switching.tend_to_middle(now=NOW + 60 * MINUTE) == 1
    assert Provider.objects.get(pk=mmg.pk).share == 10
    assert switching.tend_to_middle(now=NOW + 65 * MINUTE) == 0
    Provider.objects.filter(pk=mmg.pk).update(held_until=NOW + timedelta(days=1))
    assert switching.tend_to_middle(now=NOW + 3 * 60 * MINUTE) == 0


def test_a_pause_stops_claims_keeps_everything_and_alerts_while_it_is_on(providers):
    message = make_notification(due_at=NOW)
    assert pausing.pause_sending(reason="the network is down", now=NOW) is True
    assert pausing.pause_sending(reason="again", now=NOW + SECOND) is False
    assert sending.Sending().claim(10, NOW) == []
    assert sending.next_due(before=NOW) is None  # so that no loop waits for what it may not send
    assert "the network is down" in Alert.objects.open().get().message
    Notification.objects.update(first_attempt_at=NOW - timedelta(hours=5))
    assert pausing.resume_sending(now=NOW + MINUTE) is True
    message.refresh_from_db()
    assert message.first_attempt_at is None  # a pause uses up none of the hours of “try later”
    assert pausing.resume_sending(now=NOW + MINUTE) is False
    assert not Alert.objects.open().exists()
    assert sending.next_due(before=NOW) == NOW
    assert [claimed.notification.pk for claimed in sending.Sending().claim(10, NOW)] == [str(message.pk)]
    assert Pause.objects.count() == 1
