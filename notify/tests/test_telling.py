"""Alerts on their way out, to a real mail server and a real HTTP receiver on this machine."""

import json
import logging
import socket
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from callbacks.tests.receiver import Receiver
from notify import telling, telling_channels
from notify.alerts import acknowledge, close_alert, raise_alert, snooze
from notify.loops import InTransaction
from notify.models import Alert
from notify.tests.mail_server import MailServer
from notify.tests.together import together

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before the clocks go forward in London
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CHANNELS = ("webhook", "email")


@pytest.fixture
def mail(settings):
    with MailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 2
        settings.ALERT_EMAILS = ["ops@example.org", "duty@example.org"]
        yield server


@pytest.fixture
def hook(settings):
    with Receiver() as receiver:
        settings.ALERT_WEBHOOK_URL = receiver.url("hook")
        yield receiver


@pytest.fixture(autouse=True)
def on(settings):
    settings.ALERTS_ENABLED = True
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = [], ""


def closed_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


def scopes(receiver: Receiver) -> list[str]:
    """Return the scopes that the receiver heard of."""
    texts = [json.loads(request.body)["text"] for request in receiver.received]
    return sorted(line.split(": ")[1] for text in texts for line in text.splitlines() if line.startswith("Affected: "))


def subjects(server: MailServer) -> list[str]:
    return sorted(email["Subject"].split(": ")[1] for email in server.emails)


@pytest.mark.django_db
def test_an_alert_is_told_once_by_each_channel(mail, hook):
    raise_alert("job-stalled", "job 7", "It stopped.", now=NOW)
    assert telling.due(now=NOW).count == 1
    assert telling.send_alerts(now=NOW) == {"told": 2, "failed": 0}
    assert telling.due(now=NOW).count == 0
    raise_alert("job-stalled", "job 7", "It stopped.", now=NOW + HOUR)  # counts, and is not told again
    assert telling.send_alerts(now=NOW + HOUR) == {"told": 0, "failed": 0}
    assert (scopes(hook), subjects(mail)) == (["job 7"], ["job 7"])
    assert mail.recipients == [["ops@example.org", "duty@example.org"]]
    alert = Alert.objects.get()
    assert (alert.email_told_at, alert.webhook_told_at, alert.email_claimed_at, alert.email_due_at) == (
        NOW, NOW, None, None,
    )  # fmt: skip


@pytest.mark.django_db
def test_an_alert_that_opens_anew_is_told_anew(hook):
    for hours in range(2):
        raise_alert("a", "1", "", now=NOW + hours * HOUR)
        telling.send_alerts(now=NOW + hours * HOUR)
        close_alert("a", "1", now=NOW + hours * HOUR)
    assert scopes(hook) == ["1", "1"]


@pytest.mark.django_db
def test_what_a_person_has_seen_or_what_resolved_itself_is_not_told(hook):
    for scope in ("acknowledged", "snoozed", "resolved", "open"):
        raise_alert("a", scope, "", now=NOW)
    keys = dict(Alert.objects.values_list("scope", "pk"))
    acknowledge([keys["acknowledged"]], now=NOW)
    snooze([keys["snoozed"]], until=NOW + HOUR)
    close_alert("a", "resolved", now=NOW)
    telling.send_alerts(now=NOW)
    assert scopes(hook) == ["open"]
    telling.send_alerts(now=NOW + HOUR - SECOND)
    assert scopes(hook) == ["open"]
    telling.send_alerts(now=NOW + HOUR)  # the snooze ends while it is still open and was never told
    telling.send_alerts(now=NOW + 2 * HOUR)
    assert scopes(hook) == ["open", "snoozed"]


@pytest.mark.django_db
def test_one_that_was_told_is_not_told_again_after_a_snooze(hook):
    raise_alert("a", "1", "", now=NOW)
    telling.send_alerts(now=NOW)
    snooze([Alert.objects.get().pk], until=NOW + HOUR)
    telling.send_alerts(now=NOW + 2 * HOUR)
    assert scopes(hook) == ["1"]


@pytest.mark.django_db
@pytest.mark.parametrize("enabled", [True, False])
def test_where_alerts_are_off_nothing_leaves_and_nothing_is_due(settings, mail, hook, enabled):
    settings.ALERTS_ENABLED = enabled
    raise_alert("a", "1", "", now=NOW)
    assert telling.due(now=NOW).count == int(enabled)
    telling.send_alerts(now=NOW)
    assert (len(hook.received), len(mail.emails), mail.connections) == (int(enabled),) * 3
    assert bool(telling.why_not()) is not enabled


@pytest.mark.django_db
def test_a_channel_that_is_not_set_up_is_left_alone_and_told_when_it_is(settings, mail):
    raise_alert("a", "1", "", now=NOW)
    assert telling.channels() == ["email"]
    telling.send_alerts(now=NOW)
    alert = Alert.objects.get()
    assert (alert.email_attempts, alert.webhook_attempts) == (1, 0)
    with Receiver() as later:
        settings.ALERT_WEBHOOK_URL = later.url("hook")
        telling.send_alerts(now=NOW + MINUTE)
        assert scopes(later) == ["1"]
    assert len(mail.emails) == 1


@pytest.mark.django_db
def test_a_slow_channel_leaves_the_other_its_time(settings, mail, hook):
    settings.ALERT_WEBHOOK_URL, settings.LOOP_FOR = hook.url("slow"), timedelta(seconds=0.4)
    for number in range(30):
        raise_alert("a", str(number), "", now=NOW)
    telling.send_alerts(now=NOW)
    assert 0 < len(hook.received) < 30
    assert mail.emails


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


@pytest.mark.django_db
def test_an_alert_nobody_could_be_told_of_for_over_an_hour_is_logged_once(settings, hook, caplog):
    settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{closed_port()}/"
    raise_alert("a", "1", "", now=NOW)
    for moment in (NOW, NOW + HOUR):
        telling.send_alerts(now=moment)
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]
    for moment in (NOW + HOUR + SECOND, NOW + HOUR + 2 * SECOND, NOW + 5 * HOUR):
        telling.send_alerts(now=moment)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["Alert a for 1 could not be told by webhook (ClientConnectorError); see its page"]
    assert Alert.objects.untold_long(["webhook"], NOW + 5 * HOUR).exists()
    settings.ALERT_WEBHOOK_URL = hook.url("hook")
    telling.send_alerts(now=NOW + 6 * HOUR)
    assert scopes(hook) == ["1"]
    assert not Alert.objects.untold_long(["webhook"], NOW + 6 * HOUR).exists()


@pytest.mark.django_db
def test_a_snooze_that_has_ended_gives_an_hour_anew():
    raise_alert("a", "1", "", now=NOW)
    snooze([Alert.objects.get().pk], until=NOW + 5 * HOUR)
    late = [NOW + hours * HOUR + SECOND for hours in range(8)]
    assert [bool(Alert.objects.untold_long(["email"], moment)) for moment in late] == [False] * 6 + [True] * 2


@pytest.mark.django_db
def test_inside_a_transaction_it_refuses_to_run():
    with transaction.atomic(), pytest.raises(InTransaction):
        telling.send_alerts(now=NOW)


@pytest.mark.django_db
def test_with_twenty_alerts_due_looking_costs_no_more(settings, django_assert_max_num_queries):
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.org"], "http://127.0.0.1:9/"
    for number in range(20):
        raise_alert("a", str(number), "", now=NOW)
    with django_assert_max_num_queries(4):
        assert telling.due(now=NOW).count == 20
