"""Alerts on their way out, to a real mail server and a real HTTP receiver on this machine."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from callbacks.tests.receiver import Receiver
from notify import telling
from notify.alerts import acknowledge, close_alert, raise_alert, snooze
from notify.loops import InTransaction
from notify.models import Alert
from notify.tests.alert_receivers import closed_port, scopes, subjects

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before the clocks go forward in London
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
CHANNELS = ("webhook", "email")
pytestmark = pytest.mark.usefixtures("alerts_on")


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
