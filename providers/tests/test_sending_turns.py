"""Whose turn it is: fair between services, and only where somebody may carry."""

import pytest

from notify.models import Notification
from notify.testing import make_provider, make_template
from providers.models import Provider
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
    ten = {message.pk for message in waiting(10, template=small, due_at=now() - SECOND)}
    claimed = [item.notification.pk for item in Sending().claim(100, now())]
    assert (len(claimed), len(ten & set(claimed))) == (100, 10)


def test_twelve_services_with_a_backlog_do_not_hold_up_a_thirteenth():
    make_provider()
    for _ in range(12):
        waiting(15, due_at=now() - 3_600 * SECOND)
    ten = {message.pk for message in waiting(10, due_at=now() - SECOND)}
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
