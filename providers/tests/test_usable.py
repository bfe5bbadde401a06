"""A provider that cannot be used stops nobody but itself, and its messages wait."""

import base64
import json
from datetime import timedelta
from functools import partial

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from notify.models import Alert, Notification
from notify.testing import make_notification, make_provider, make_template
from providers import receipts
from providers.models import Provider, Receipt
from providers.sending import Sending
from providers.switching import switch_on_slow_delivery
from providers.tests.carrying import fresh, now, open_alerts, provider_at, send, waiting
from providers.usable import Backends, judge_providers
from providers.watchdogs import replay_created_notifications, timeout_notifications

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("impatient")]
HOUR = timedelta(hours=1)


def damage(provider):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET config = 'damaged' WHERE id = %s", [provider.pk])


def broken_by(config=None, **fields):
    """Make a way to break a provider; what it was is put back by saving the row that is returned."""

    def spoil(provider):
        whole = Provider.objects.get(pk=provider.pk)
        whole.config  # noqa: B018 - opened, so that it can be written again
        if config is None and not fields:
            damage(provider)
        else:
            changed = {"config": whole.config | (config or {}), "updated_at": now()}
            Provider.objects.filter(pk=provider.pk).update(**changed, **fields)
        whole.updated_at = now()
        return whole

    return spoil


BROKEN = {
    "unreadable": broken_by(),
    "no such backend": broken_by(backend="providers.backends.mmg.Nobody"),
    "another channel's backend": broken_by(backend=Provider.Backend.POSTAL),
    "a value it cannot read": broken_by({"timeout": "soon"}),
    "no API key": broken_by({"api_key": ""}),
    "an API key of two lines": broken_by({"api_key": "a\nb"}),
    "no web address": broken_by({"url": "nonsense"}),
    "half an address": broken_by({"url": "http://[::1"}),
}
EACH = pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)


@EACH
def test_messages_of_a_broken_provider_wait_without_using_up_tries_and_go_when_it_is_mended(server, spoil):
    whole = spoil(provider_at(server))
    (message,) = waiting(first_attempt_at=now() - 5 * HOUR)
    assert [send(), send(), send()] == [0, 0, 0]
    assert (fresh(message).status, message.attempts, message.status_reason) == ("created", 0, "")
    assert Alert.objects.filter(kind="cannot-send", scope="mmg").count() == 1
    assert sorted(open_alerts()) == [("cannot-send", "mmg"), ("no-provider", "sms")]
    whole.save()
    assert (send(), server.taken, open_alerts()) == (1, [str(message.pk)], [])


@EACH
def test_the_other_provider_carries_the_messages_meanwhile(server, spoil):
    provider_at(server, "firetext")
    spoil(provider_at(server))
    messages = waiting(20)
    assert send() == 20
    assert set(Notification.objects.values_list("provider_name", "attempts")) == {("firetext", 1)}
    assert sorted(server.taken) == sorted(str(message.pk) for message in messages)
    assert open_alerts() == [("cannot-send", "mmg")]


def test_another_provider_without_a_share_is_given_nothing(server):
    provider_at(server, "firetext", share=0)
    BROKEN["unreadable"](provider_at(server))
    waiting()
    assert (send(), server.taken) == (0, [])


def test_a_provider_broken_while_a_loop_runs_is_given_nothing_a_second_later(server):
    provider = provider_at(server)
    work = Sending()
    waiting(2)
    moment = now()
    assert len(work.claim(1, moment)) == 1
    BROKEN["no API key"](provider)
    assert work.claim(1, moment + timedelta(seconds=1)) == []


def test_the_time_out_holds_for_messages_that_wait_for_a_broken_provider():
    BROKEN["unreadable"](make_provider())
    message = make_notification(created_at=now() - 73 * HOUR, due_at=now() - 73 * HOUR)
    assert replay_created_notifications(now=now()) == 1
    assert "can be used" in Alert.objects.get(kind="messages-waiting").message
    timeout_notifications(now=now())
    assert fresh(message).status == "technical-failure"


def test_a_missing_key_names_the_provider_and_the_remedy_and_closes_when_it_is_back(settings):
    make_provider("firetext", active=False)
    make_provider("postal")
    before = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    make_provider()
    judge_providers(now=now())
    judge_providers(now=now())
    assert sorted(open_alerts()) == [("cannot-send", "firetext"), ("cannot-send", "postal")]
    message = Alert.objects.get(scope="postal").message
    assert "postal cannot be used" in message
    assert "ENCRYPTION_KEYS" in message
    settings.ENCRYPTION_KEYS = [*settings.ENCRYPTION_KEYS, *before]
    judge_providers(now=now())
    assert open_alerts() == []


def test_one_that_is_switched_off_may_be_half_set_up():
    make_provider(active=False, config={})
    judge_providers(now=now())
    assert open_alerts() == []
    Provider.objects.update(active=True)
    judge_providers(now=now())
    assert open_alerts() == [("cannot-send", "mmg")]


def test_a_backend_is_built_once_and_anew_when_its_provider_changes():
    provider, backends = make_provider(), Backends()
    first = backends.of(provider)
    assert backends.of(Provider.objects.get()) is first
    provider.updated_at = now()
    assert backends.of(provider) is not first


def test_receipts_of_the_others_are_taken_and_applied(client):
    config = {"receipt_user": "u", "receipt_passwords": ["p"], "api_key": "key"}
    broken, whole = make_provider("mmg", config=config), make_provider("firetext", config=config)
    mine, theirs = (
        make_notification(status="sending", sent_at=now(), provider_name=name) for name in ("mmg", "firetext")
    )
    receipts.store(broken, json.dumps({"CID": str(mine.pk), "status": "3"}).encode(), "", now=now())
    damage(broken)
    headers = {"Authorization": f"Basic {base64.b64encode(b'u:p').decode()}"}
    form = f"reference={theirs.pk}&status=0"
    post = partial(client.post, data=form, content_type="application/x-www-form-urlencoded", headers=headers)
    assert post("/receipts/firetext/").status_code == 200
    assert post("/receipts/mmg/").status_code == 503
    receipts.apply_batch(now=now())
    assert (fresh(theirs).status, fresh(mine).status) == ("delivered", "sending")
    assert open_alerts() == [("unreadable-receipt", "mmg")]
    broken.config = config
    broken.save()
    receipts.apply_batch(now=now() + 2 * HOUR)
    assert (fresh(mine).status, Receipt.objects.filter(applied_at=None).count()) == ("delivered", 0)
    assert whole.receipt_set.count() == 1


def test_no_traffic_moves_to_a_provider_that_cannot_be_used():
    slow, broken = make_provider(), make_provider("firetext")
    template = make_template()
    for _ in range(10):
        make_notification(
            template=template, status="sending", provider_name="mmg", due_at=None, sent_at=now() - timedelta(minutes=9)
        )
    damage(broken)
    assert switch_on_slow_delivery(now=now()) == {"found": 1, "repaired": 0}
    assert (fresh(slow).share, ("providers-all-slow", "sms") in open_alerts()) == (50, True)
    Provider.objects.filter(pk=broken.pk).update(config={"api_key": "key"}, updated_at=now())
    assert switch_on_slow_delivery(now=now())["repaired"] == 2
    assert fresh(slow).share == 0
