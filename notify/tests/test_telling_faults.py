"""Receivers of alerts that are away, slow or strange, and processes that die or sleep on the way to them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from notify import telling, telling_channels
from notify.alerts import raise_alert
from notify.models import Alert
from notify.tests.alert_receivers import closed_port, scopes, subjects
from notify.tests.mail_server import MailServer
from notify.tests.together import together

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before the clocks go forward in London
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CHANNELS = ("webhook", "email")
pytestmark = pytest.mark.usefixtures("alerts_on")


def run_minutely(start: datetime, minutes: int) -> None:
    """Run the loop once a minute, as the schedule does."""
    for minute in range(minutes):
        telling.send_alerts(now=start + minute * MINUTE)


@pytest.mark.django_db
def test_away_for_an_hour_and_back_each_alert_arrives_exactly_once(settings, mail, hook):
    back_mail, back_hook = settings.EMAIL_PORT, settings.ALERT_WEBHOOK_URL
    settings.EMAIL_PORT = closed_port()
    settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{closed_port()}/"
    names = [f"job {number}" for number in range(5)]
    for name in names:
        raise_alert("job-stalled", name, "It stopped.", now=NOW)
    run_minutely(NOW, 60)
    assert (mail.emails, hook.received) == ([], [])
    assert Alert.objects.filter(webhook_error="ClientConnectorError", email_error="ConnectionRefusedError").count() == 5
    settings.EMAIL_PORT, settings.ALERT_WEBHOOK_URL = back_mail, back_hook
    run_minutely(NOW + HOUR, 16)  # the longest wait between two tries
    assert (scopes(hook), subjects(mail)) == (names, names)
    run_minutely(NOW + 2 * HOUR, 5)
    assert (scopes(hook), subjects(mail)) == (names, names)


@pytest.mark.django_db
@pytest.mark.parametrize("away", CHANNELS)
def test_one_channel_that_is_away_does_not_stop_the_other(settings, mail, hook, away):
    if away == "email":
        settings.EMAIL_PORT = closed_port()
    else:
        settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{closed_port()}/"
    for number in range(5):
        raise_alert("a", str(number), "", now=NOW)
    assert telling.send_alerts(now=NOW) == {"told": 5, "failed": telling.IN_VAIN}
    assert len(mail.emails if away == "webhook" else hook.received) == 5


@pytest.mark.django_db
def test_tries_in_vain_come_ever_more_slowly_and_those_never_tried_come_first(settings, hook):
    hook.answers["hook"] = {"status": 500}
    raise_alert("a", "1", "", now=NOW)
    minutes = []
    for minute in range(64):
        if telling.send_alerts(now=NOW + minute * MINUTE)["failed"]:
            minutes.append(minute)
    assert minutes == [0, 1, 3, 7, 15, 31, 47, 63]
    assert Alert.objects.get().webhook_error == "answered 500"
    raise_alert("a", "2", "", now=NOW + 79 * MINUTE)
    del hook.received[:]
    telling.send_alerts(now=NOW + 79 * MINUTE)
    assert [json.loads(request.body)["text"].splitlines()[0][:5] for request in hook.received] == ["*a: 2", "*a: 1"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("header", "first_due", "last_not_due"),
    [
        ("600", 600, 599),
        ("30", 60, 59),  # never sooner than we would try by ourselves
        ("999999999999", 3_600, 3_599),  # nobody is silenced for a day
        ("Sun, 29 Mar 2026 00:40:00 GMT", 60, 59),  # long past by this machine's clock
        ("soon", 60, 59),
        ("-5", 60, 59),
    ],
)
def test_a_receiver_that_asks_for_time_is_given_it_within_reason(hook, header, first_due, last_not_due):
    hook.answers["hook"] = {"status": 429, "headers": {"Retry-After": header}}
    raise_alert("a", "1", "", now=NOW)
    assert telling.send_alerts(now=NOW) == {"told": 0, "failed": 1}
    assert not Alert.objects.untold("webhook", NOW + last_not_due * SECOND).exists()
    assert Alert.objects.untold("webhook", NOW + first_due * SECOND).exists()
    del hook.answers["hook"]
    telling.send_alerts(now=NOW + first_due * SECOND)
    assert len(hook.received) == 2
    assert Alert.objects.get().webhook_told_at


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["hang", "cut", "302", "404", "410", "drip"])
def test_no_strange_receiver_stops_or_slows_the_loop(settings, hook, mail, monkeypatch, path):
    monkeypatch.setattr(telling_channels, "TIMEOUT", 0.3)
    settings.ALERT_WEBHOOK_URL = hook.url(path)
    hook.answers["302"] = {"status": 302, "headers": {"Location": hook.url("elsewhere")}}
    raise_alert("a", "1", "", now=NOW)
    telling.send_alerts(now=NOW)
    assert hook.paths() == [path]  # no redirect is followed
    alert = Alert.objects.get()
    assert bool(alert.webhook_told_at) is (path == "drip")  # its status was there, and nobody waits for the rest
    assert bool(alert.webhook_error) is (path != "drip")
    assert len(mail.emails) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("answer", ["451 Later", "554 No", "hang", "silent"])
def test_a_mail_server_that_refuses_or_hangs_is_tried_again(settings, hook, answer):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.ALERT_EMAILS = ["ops@example.org"]
    raise_alert("a", "1", "", now=NOW)
    with MailServer(answer=answer, greets=answer != "silent") as server:
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 0.3
        assert telling.send_alerts(now=NOW) == {"told": 1, "failed": 1}
        server.answer, server.greets = "250 OK", True
        assert telling.send_alerts(now=NOW + MINUTE - SECOND) == {"told": 0, "failed": 0}
        assert telling.send_alerts(now=NOW + MINUTE) == {"told": 1, "failed": 0}
        assert len(server.emails) == 1
    assert len(hook.received) == 1


@pytest.mark.django_db
def test_one_alert_that_cannot_be_written_does_not_stop_the_others(settings, hook, caplog):
    settings.NOTIFY_TIME_ZONE = "Asia/Tokyo"
    raise_alert("a", "bad", "", now=NOW)
    raise_alert("a", "bad", "", now=datetime.max.replace(tzinfo=UTC))  # in Tokyo this is the year 10000
    raise_alert("a", "good", "", now=NOW + SECOND)
    assert telling.send_alerts(now=NOW + MINUTE) == {"told": 1, "failed": 1}
    assert scopes(hook) == ["good"]
    assert Alert.objects.get(scope="bad").webhook_error == "OverflowError"
    assert "An alert could not be told by webhook" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_two_loops_at_once_tell_each_alert_once(mail, hook):
    names = sorted(f"job {number}" for number in range(20))
    for name in names:
        raise_alert("a", name, "", now=NOW)
    together(*[lambda: telling.send_alerts(now=NOW)] * 3)
    telling.send_alerts(now=NOW + SECOND)
    assert (scopes(hook), subjects(mail)) == (names, names)


@pytest.mark.django_db
@pytest.mark.parametrize("channel", CHANNELS)
def test_killed_between_sending_and_writing_it_may_be_told_again_but_not_for_ever(settings, mail, hook, channel):
    raise_alert("a", "1", "", now=NOW)
    lease, moment = settings.ALERT_LEASE, NOW
    heard = mail.emails if channel == "email" else hook.received
    for times in range(1, settings.ALERT_LAPSES_LIMIT + 1):
        alert = telling.claim(channel, now=moment)  # and then the process is killed: nothing is written
        telling_channels.CHANNELS[channel](telling.words_of(alert))
        assert len(heard) == times
        assert telling.claim(channel, now=moment + lease - SECOND) is None
        moment += lease
    assert telling.claim(channel, now=moment) is None
    assert telling.claim(channel, now=moment + 100 * HOUR) is None
    assert len(heard) == settings.ALERT_LAPSES_LIMIT
    assert Alert.objects.untold_long([channel], moment + 2 * HOUR).exists()  # nobody knows: it is not silent
    if channel == "email":
        assert len({email["Message-ID"] for email in heard}) == 1


@pytest.mark.django_db
def test_killed_once_it_is_told_once_more_and_then_never(settings, hook):
    raise_alert("a", "1", "", now=NOW)
    telling_channels.by_webhook(telling.words_of(telling.claim("webhook", now=NOW)))
    telling.send_alerts(now=NOW + settings.ALERT_LEASE)
    telling.send_alerts(now=NOW + 2 * settings.ALERT_LEASE)
    assert scopes(hook) == ["1", "1"]
    assert Alert.objects.get().webhook_lapses == 1


@pytest.mark.django_db
def test_a_process_that_slept_past_its_lease_changes_nothing(settings, hook):
    raise_alert("a", "1", "", now=NOW)
    asleep = telling.claim("webhook", now=NOW)
    hook.answers["hook"] = {"status": 500}
    telling.send_alerts(now=NOW + settings.ALERT_LEASE)
    before = Alert.objects.values().get()
    del hook.answers["hook"]
    assert telling.tell("webhook", asleep, now=NOW + settings.ALERT_LEASE).told
    assert Alert.objects.values().get() == before
