"""Elements of an email provider's array that name only the provider's own id, and come before anybody knows it."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from callbacks.models import Callback
from notify.models import Notification
from notify.testing import make_endpoint, make_notification, make_provider, make_template
from providers import esp, receipts
from providers.models import Receipt

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def emails(*references):
    """Make emails on their way, each with this id of the provider's; all of one service that is told."""
    template = make_template(notification_type="email")
    make_endpoint(template.service)
    same = {"notification_type": "email", "status": "sending", "provider_name": "email", "sent_at": NOW - MINUTE}
    return [make_notification(template=template, provider_reference=one, **same) for one in references]


def arrive(provider, *pairs, now=NOW):
    """Take in one array of (the provider's id, event), as SendGrid sends it where it knows nothing of ours."""
    same = {"email": "a@example.org", "timestamp": 1_792_888_200}
    body = json.dumps([same | {"event": event, "smtp-id": own} for own, event in pairs]).encode()
    return receipts.store(provider, body, esp.label("sendgrid", "application/json"), now=now)


def statuses(messages):
    found = dict(Notification.objects.values_list("pk", "status"))
    return [found[one.pk] for one in messages]


def outcomes():
    return sorted(Receipt.objects.values_list("outcome", flat=True))


def known(message, own):
    """The provider's answer to our sending is written."""
    Notification.objects.filter(pk=message.pk).update(provider_reference=own)


def test_an_element_that_came_before_the_providers_id_is_applied_once_it_is_known():
    provider, messages = make_provider("email", config={}), emails("one", "", "three")
    arrive(provider, ("one", "delivered"), ("two", "bounce"), ("three", "delivered"))
    receipts.apply_batch(now=NOW)
    assert statuses(messages) == ["delivered", "sending", "delivered"]
    assert outcomes() == ["applied", "applied", "split", "waiting"]
    assert receipts.apply_batch(now=NOW + MINUTE) == 1  # looked at again, still in vain
    known(messages[1], "two")
    receipts.apply_batch(now=NOW + 10 * MINUTE)
    assert statuses(messages) == ["delivered", "permanent-failure", "delivered"]
    assert outcomes() == ["applied"] * 3 + ["split"]
    assert not arrive(provider, ("one", "delivered"), ("two", "bounce"), ("three", "delivered"), now=NOW + DAY)
    assert receipts.apply_batch(now=NOW + DAY) == 0
    assert Callback.objects.count() == 3


def test_an_element_of_an_unknown_event_is_said_aloud_once_its_message_is_known():
    provider, [message] = make_provider("email", config={}), emails("")
    arrive(provider, ("one", "teleported"), ("one", "delivered"))
    receipts.apply_batch(now=NOW)
    assert outcomes() == ["split", "waiting", "waiting"]
    known(message, "one")
    receipts.apply_batch(now=NOW + MINUTE)
    assert (statuses([message]), outcomes()) == (["delivered"], ["applied", "split", "unknown-code"])


def test_an_element_whose_message_never_comes_is_given_up_with_the_others_untouched():
    provider, [message] = make_provider("email", config={}), emails("one")
    arrive(provider, ("one", "delivered"), ("nobody's", "bounce"))
    receipts.apply_batch(now=NOW)
    for day in range(1, 11):
        receipts.apply_batch(now=NOW + day * DAY)
    assert (statuses([message]), outcomes()) == (["delivered"], ["applied", "no-such-message", "split"])


def test_an_id_of_another_providers_message_is_not_taken_for_ours():
    provider, messages = make_provider("email", config={}), emails("", "one")
    Notification.objects.filter(pk=messages[1].pk).update(provider_name="another")
    arrive(provider, ("one", "bounce"), ("two", "bounce"))
    receipts.apply_batch(now=NOW)
    known(messages[0], "one")
    receipts.apply_batch(now=NOW + MINUTE)
    assert statuses(messages) == ["permanent-failure", "sending"]


@pytest.mark.parametrize("order", list(permutations(["the id", "array", "array again", "a bounce alone"])))
def test_every_order_of_arrays_and_of_the_providers_answer_ends_in_the_same_status(order):
    provider, messages = make_provider("email", config={}), emails("one", "", "three")
    events = {
        "the id": lambda now: known(messages[1], "two"),
        "array": lambda now: arrive(provider, ("two", "delivered"), ("one", "delivered"), ("three", "open"), now=now),
        "array again": lambda now: arrive(provider, ("three", "bounce"), ("two", "delivered"), now=now),
        "a bounce alone": lambda now: arrive(provider, ("two", "bounce"), now=now),
    }
    for place, name in enumerate(order):
        events[name](NOW + place * MINUTE)
        receipts.apply_batch(now=NOW + place * MINUTE)
    receipts.apply_batch(now=NOW + DAY)
    assert statuses(messages) == ["delivered", "permanent-failure", "permanent-failure"]
    assert sorted(set(outcomes())) == ["applied", "split"]
    told = Callback.objects.filter(notification_id=messages[1].pk).values_list("notification_status", flat=True)
    assert len(told) == len(set(told))
    assert told.latest("created_at") == "permanent-failure"
