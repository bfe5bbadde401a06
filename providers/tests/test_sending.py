"""Carrying messages to a provider that really answers over HTTP."""

import time
from datetime import timedelta

import pytest
from django.db import connection

from callbacks.models import Callback
from callbacks.payloads import open_payload
from notify.models import Notification
from notify.testing import make_endpoint, make_provider, make_service, make_template
from providers import sending
from providers.models import Provider
from providers.sending import Sending
from providers.tests.carrying import SECOND, fresh, now, open_alerts, provider_at, send, waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("impatient")]


def test_an_accepted_message_was_sent_once_with_our_id_words_and_sender(server):
    provider_at(server)
    service = make_service(sms_sender="Council")
    (message,) = waiting(service=service, template=make_template(service, content="Hello ((name))"))
    assert (send(), send()) == (1, 0)
    (body,) = server.bodies
    assert (body["cid"], body["MSISDN"]) == (str(message.pk), "+447700900123")
    assert (body["msg"], body["sender"]) == ("Hello Person", "Council")
    assert (fresh(message).status, message.provider_name, message.provider_reference) == ("sending", "mmg", "ref-1")
    assert (message.attempts, message.claimed_at, message.due_at) == (1, None, None)
    assert message.first_attempt_at <= message.sent_at <= now()


def test_a_service_without_a_sender_sends_under_the_default(server, settings):
    settings.DEFAULT_SMS_SENDER = "Everyone"
    provider_at(server)
    waiting()
    send()
    assert server.bodies[0]["sender"] == "Everyone"


def test_a_text_message_abroad_is_sent_with_its_acceptance_and_told(server):
    provider_at(server)
    (message,) = waiting(recipient="+4915112345678")
    make_endpoint(message.service)
    send()
    assert fresh(message).status == "sent"
    assert Callback.objects.get().notification_status == "sent"


def test_a_refusal_ends_the_message_and_tells_its_service(server):
    provider_at(server)
    server.answer = lambda message: (400, {"Error": 206, "Description": "invalid number"})
    (message,) = waiting()
    make_endpoint(message.service)
    send()
    assert (fresh(message).status, message.status_reason) == ("technical-failure", "answered 400: 206: invalid number")
    body = open_payload(Callback.objects.get().payload)["body"]
    assert (body["status"], body["sent_at"]) == ("technical-failure", None)


def test_try_later_comes_back_after_the_providers_own_wait_by_whichever_provider_may_then(server):
    mmg = provider_at(server)
    server.answer = lambda message: (429, {"Description": "busy"}, {"Retry-After": "90"})
    (message,) = waiting()
    send()
    assert fresh(message).status_reason.startswith("try later: answered 429")
    assert 45 < (message.due_at - now()).total_seconds() <= 90
    assert (send(), len(server.taken)) == (0, 1)  # not before its time
    Provider.objects.filter(pk=mmg.pk).update(active=False)
    provider_at(server, "firetext")
    server.answer = lambda message: (200, {})
    Notification.objects.update(due_at=now() - SECOND)
    send()
    assert (fresh(message).status, message.provider_name, message.attempts) == ("sending", "firetext", 2)


def test_out_of_tries_after_four_hours(server):
    provider_at(server)
    server.answer = lambda message: (503, {})
    (message,) = waiting(first_attempt_at=now() - timedelta(hours=4), attempts=50)
    (younger,) = waiting(first_attempt_at=now() - timedelta(hours=4) + 60 * SECOND, attempts=50)
    send()
    assert (fresh(message).status, message.status_reason) == ("technical-failure", "out of tries: answered 503")
    assert fresh(younger).status == "created"


def test_nobody_listening_is_try_later_and_nothing_was_sent():
    make_provider()  # port 9 of this machine, where nobody listens
    (message,) = waiting()
    send()
    assert fresh(message).status_reason == "try later: no connection could be made"
    assert (message.status, message.unknown_outcomes) == ("created", 0)


@pytest.mark.parametrize("fate", ["cut", 2.0], ids=["the line is cut", "no answer in time"])
def test_an_unknown_outcome_waits_ten_minutes_is_sent_once_more_and_then_held(server, fate):
    provider_at(server, timeout="0.5")
    server.answer = lambda message: fate
    (message,) = waiting()
    send()
    assert (fresh(message).status, message.status_reason, message.unknown_outcomes) == ("created", "outcome-unknown", 1)
    assert 450 < (message.due_at - now()).total_seconds() <= 600
    assert (send(), len(server.taken), open_alerts()) == (0, 1, [])
    Notification.objects.update(due_at=now() - SECOND)
    send()
    assert (fresh(message).due_at, message.unknown_outcomes, len(server.taken)) == (None, 2, 2)
    assert open_alerts() == [("outcome-unknown", "mmg")]
    assert (send(), len(server.taken)) == (0, 2)


def test_a_provider_that_says_hold_gets_no_second_request(server):
    provider_at(server, unknown_outcome="hold")
    server.answer = lambda message: "cut"
    (message,) = waiting()
    send()
    assert (fresh(message).due_at, len(server.taken)) == (None, 1)
    assert open_alerts() == [("outcome-unknown", "mmg")]


def test_a_lease_that_ran_out_is_an_unknown_outcome_and_not_sent_at_once(server):
    provider_at(server)
    (message,) = waiting(claimed_at=now() - 61 * SECOND, due_at=now() - SECOND, attempts=1, provider_name="mmg")
    send()
    assert (server.taken, fresh(message).unknown_outcomes) == ([], 1)
    assert (message.due_at - now()).total_seconds() > 590


def test_a_lease_that_still_runs_is_left_alone(server):
    provider_at(server)
    (message,) = waiting(claimed_at=now(), due_at=now() + 30 * SECOND, attempts=1, provider_name="mmg")
    before = Notification.objects.values().get()
    assert (send(), server.taken) == (0, [])
    assert Notification.objects.values().get() == before | {"id": message.pk}


def test_a_receipt_that_is_faster_than_our_own_write_keeps_its_status(server):
    provider_at(server)
    (message,) = waiting()
    work = Sending()
    (item,) = work.claim(10, now())
    Notification.objects.update(status="delivered", due_at=None, delivered_at=now())
    work.finish([(item, sending.Result(sending.Outcome.ACCEPTED, provider_reference="r"))], now())
    assert (fresh(message).status, message.provider_reference, message.claimed_at) == ("delivered", "r", None)
    assert message.sent_at is not None


def test_a_claim_is_a_lease_with_a_token(settings):
    make_provider()
    (message,) = waiting()
    moment = now()
    (item,) = Sending().claim(10, moment)
    assert (fresh(message).claimed_at, message.due_at, message.attempts) == (moment, moment + settings.SENDING_LEASE, 1)
    assert item.token == {"claimed_at": moment, "attempts": 1}
    assert Sending().claim(10, moment) == []


def test_no_more_are_on_the_wire_than_allowed_and_all_of_them_go(server, settings):
    settings.SENDING_CONCURRENCY = 8
    provider_at(server)
    messages = waiting(60)

    def slowly(message):
        time.sleep(0.005)
        return 200, {}

    server.answer = slowly
    assert send() == 60
    assert sorted(server.taken) == sorted(str(message.pk) for message in messages)
    assert 4 <= server.most_at_once <= 8
    assert set(Notification.objects.values_list("status", flat=True)) == {"sending"}


def test_a_poison_row_ends_with_an_alert_and_a_callback_and_does_not_stop_its_batch(server):
    provider_at(server)
    good = waiting(5)
    (poison,) = waiting(template=good[0].template)
    make_endpoint(poison.service)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notify_notification SET recipient = 'x' WHERE id = %s", [poison.pk])
    assert send() == 6
    assert sorted(server.taken) == sorted(str(message.pk) for message in good)
    kept = Notification.objects.get(pk=poison.pk)
    assert (kept.status, kept.status_reason) == ("technical-failure", "the message cannot be built (Unreadable)")
    assert open_alerts() == [("message-not-built", kept.status_reason)]
    assert open_payload(Callback.objects.get().payload)["body"]["to"] is None


def test_messages_of_a_service_that_is_switched_off_wait(server):
    provider_at(server)
    (message,) = waiting(service=make_service(active=False))
    assert (send(), server.taken, fresh(message).status) == (0, [], "created")
    message.service.active = True
    message.service.save()
    assert send() == 1
