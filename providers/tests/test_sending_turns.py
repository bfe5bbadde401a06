"""Whose turn it is: fair between services, and only where somebody may carry."""

from datetime import UTC, datetime

import pytest

from notify.models import Notification, Service
from notify.testing import make_provider, make_template
from providers.models import Pause, Provider
from providers.sending import Sending
from providers.tests.carrying import SECOND, fresh, now, open_alerts, provider_at, send, waiting
from providers.usable import judge_providers

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("impatient")]


def test_the_next_claim_holds_the_ten_of_a_service_beside_anothers_thousands():
    make_provider()
    big, small = make_template(), make_template()
    template = waiting(template=big)[0]
    rows = [Notification(**{field.attname: getattr(template, field.attname) for field in template._meta.fields
                            if field.attname != "id"}) for _ in range(5_000)]  # fmt: skip
    Notification.objects.bulk_create(rows)
    ten = {str(message.pk) for message in waiting(10, template=small, due_at=now() - SECOND)}
    claimed = [item.notification.pk for item in Sending().claim(100, now())]
    assert (len(claimed), len(ten & set(claimed))) == (100, 10)


def test_twelve_services_with_a_backlog_do_not_hold_up_a_thirteenth():
    make_provider()
    for _ in range(12):
        waiting(15, due_at=now() - 3_600 * SECOND)
    ten = {str(message.pk) for message in waiting(10, due_at=now() - SECOND)}
    claimed = {item.notification.pk for item in Sending().claim(100, now())}
    assert len(claimed) == 100
    assert len(ten & claimed) in (7, 8)  # as many as the hundredth place divides; who gets the rest is left to chance


@pytest.mark.parametrize("shares", [[], [0, 0]], ids=["nobody is active", "all shares are zero"])
def test_where_nobody_may_carry_nothing_is_sent_and_one_alert_stays_open_until_somebody_may(server, shares):
    for name, share in zip(("mmg", "firetext"), shares, strict=False):
        provider_at(server, name, share=share)
    (message,) = waiting()
    assert [send(), send()] == [0, 0]
    assert (open_alerts(), fresh(message).attempts) == ([("no-provider", "sms")], 0)
    Provider.objects.all().delete()
    provider_at(server, share=0)  # alone, it carries everything
    assert (send(), open_alerts(), server.taken) == (1, [], [str(message.pk)])


def test_a_pause_counts_at_once_and_a_services_new_sender_a_second_after_the_loop_last_looked():
    make_provider()
    (message, *_) = waiting(4)
    work, moment = Sending(), now()

    def senders(seconds):
        return [item.message.sender for item in work.claim(1, moment + seconds * SECOND)]

    before = senders(0)
    Service.objects.filter(pk=message.service_id).update(sms_sender="Changed")
    assert (senders(0.9), senders(1)) == (before, ["Changed"])
    pause = Pause.objects.create(reason="a fault")
    assert senders(1.1) == []
    pause.delete()
    assert senders(1.2) == ["Changed"]


@pytest.mark.parametrize("before", [{}, {"attempts": 2, "first_attempt_at": datetime(2026, 3, 1, tzinfo=UTC)}],
                         ids=["first try", "third try"])  # fmt: skip
def test_a_claim_that_is_given_back_uses_up_no_try(before):
    make_provider()
    (message,) = waiting(**before)
    was = Notification.objects.values("attempts", "first_attempt_at", "claimed_at", "status", "unknown_outcomes").get()
    work, moment = Sending(), now()
    claimed = work.claim(10, moment)
    work.give_back(claimed, moment + SECOND)
    assert Notification.objects.values(*was).get() == was
    assert fresh(message).due_at == moment + SECOND
    assert message.provider_name == ("mmg" if before else "")
    assert len(work.claim(10, moment + SECOND)) == 1


def test_what_was_settled_meanwhile_is_not_given_back():
    make_provider()
    (message,) = waiting()
    work = Sending()
    claimed = work.claim(10, now())
    Notification.objects.update(status="delivered", due_at=None)
    work.give_back(claimed, now())
    assert (fresh(message).status, message.due_at, message.attempts) == ("delivered", None, 1)
    Notification.objects.update(status="created", attempts=2)  # somebody else's claim
    work.give_back(claimed, now())
    assert (fresh(message).attempts, message.claimed_at) == (2, claimed[0].notification.claimed_at)


def test_without_waiting_messages_nobody_hears_of_a_missing_provider():
    judge_providers(now=now())
    (message,) = waiting(due_at=now() + 60 * SECOND)
    judge_providers(now=now())
    assert open_alerts() == []
    judge_providers(now=now() + 61 * SECOND)
    assert open_alerts() == [("no-provider", "sms")]
    Notification.objects.filter(pk=message.pk).update(status="cancelled", due_at=None)
    judge_providers(now=now() + 62 * SECOND)
    assert open_alerts() == []


def test_an_alert_of_held_messages_closes_by_itself_when_a_person_has_decided(server):
    provider_at(server)
    (held,) = waiting(due_at=None, unknown_outcomes=2, provider_name="mmg")
    send()
    assert open_alerts() == [("outcome-unknown", "mmg")]
    Notification.objects.filter(pk=held.pk).update(status="delivered")
    send()
    assert open_alerts() == []
