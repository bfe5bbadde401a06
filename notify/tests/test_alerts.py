"""One open alert per kind and scope, counted, told once, resolved and opened anew."""

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from notify.alerts import acknowledge, close_alert, close_gone, raise_alert, snooze, state_of, unsnooze
from notify.models import Alert
from notify.tests.together import together

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def raised(db, django_capture_on_commit_callbacks):
    """Raise an alert in a transaction of its own that is committed."""

    def commit(kind, scope, message, *, now):
        with django_capture_on_commit_callbacks(execute=True):
            raise_alert(kind, scope, message, now=now)

    return commit


def errors(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_a_new_alert_is_stored_and_logged_as_an_error(raised, caplog):
    raised("job-stalled", "job 7", "It stopped. Look at it.", now=NOW)
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.message) == ("job-stalled", "job 7", "It stopped. Look at it.")
    assert (alert.times_seen, alert.first_seen_at, alert.last_seen_at) == (1, NOW, NOW)
    assert (alert.resolved_at, alert.acknowledged_at, alert.snoozed_until) == (None, None, None)
    assert errors(caplog) == ["Alert job-stalled for job 7: It stopped. Look at it."]


def test_the_same_alert_again_counts_and_is_not_logged_again(raised, caplog):
    for hours in range(3):
        raised("job-stalled", "job 7", f"Seen {hours}", now=NOW + hours * HOUR)
    alert = Alert.objects.get()
    assert (alert.times_seen, alert.first_seen_at, alert.last_seen_at) == (3, NOW, NOW + 2 * HOUR)
    assert alert.message == "Seen 2"
    assert len(errors(caplog)) == 1


def test_another_kind_or_scope_is_another_alert(raised, caplog):
    for kind, scope in (("a", "1"), ("a", "2"), ("b", "1")):
        raised(kind, scope, "", now=NOW)
    assert Alert.objects.open().count() == len(errors(caplog)) == 3


def test_an_acknowledged_or_snoozed_alert_goes_on_counting(db):
    raise_alert("a", "1", "", now=NOW)
    Alert.objects.update(acknowledged_at=NOW, snoozed_until=NOW + HOUR)
    raise_alert("a", "1", "", now=NOW + HOUR)
    alert = Alert.objects.get()
    assert (alert.times_seen, alert.acknowledged_at, alert.snoozed_until) == (2, NOW, NOW + HOUR)


def test_it_resolves_and_opens_anew(raised, caplog):
    raised("a", "1", "", now=NOW)
    assert close_alert("a", "1", now=NOW + HOUR) == 1
    assert Alert.objects.get().resolved_at == NOW + HOUR
    raised("a", "1", "", now=NOW + 2 * HOUR)
    assert Alert.objects.count() == 2
    assert Alert.objects.open().get().times_seen == 1
    assert Alert.objects.get(resolved_at__isnull=False).times_seen == 1
    assert len(errors(caplog)) == 2


def test_what_is_taken_back_is_not_logged(db, caplog, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            raise_alert("a", "1", "taken back", now=NOW)
            transaction.set_rollback(True)
        assert errors(caplog) == []
        raise_alert("a", "1", "kept", now=NOW)
        assert errors(caplog) == []
    assert errors(caplog) == ["Alert a for 1: kept"]


def test_a_person_acknowledges_once_and_only_what_is_open(db):
    alerts = {name: Alert.objects.create(kind="a", scope=name, message="") for name in ("open", "other", "resolved")}
    Alert.objects.filter(scope="resolved").update(resolved_at=NOW)
    keys = [alert.pk for alert in alerts.values() if alert.scope != "other"]
    assert [alert.scope for alert in acknowledge(keys, now=NOW)] == ["open"]
    assert acknowledge(keys, now=NOW + HOUR) == []
    assert set(Alert.objects.values_list("scope", "acknowledged_at")) == {
        ("open", NOW), ("other", None), ("resolved", None),
    }  # fmt: skip


def test_a_snooze_lasts_until_its_moment_and_ends_earlier_by_hand(db):
    raise_alert("a", "1", "", now=NOW)
    alert = Alert.objects.get()
    assert snooze([alert.pk], until=NOW + HOUR) == [alert]
    assert snooze([alert.pk], until=NOW + HOUR) == []
    alert.refresh_from_db()
    assert [state_of(alert, NOW + HOUR + moment) for moment in (-SECOND, 0 * HOUR)] == ["snoozed", "open"]
    assert Alert.objects.snoozed(NOW + HOUR - SECOND).get() == alert
    assert not Alert.objects.snoozed(NOW + HOUR).exists()
    assert Alert.objects.unattended(NOW + HOUR).get() == alert
    assert unsnooze([alert.pk], now=NOW + HOUR) == []
    assert unsnooze([alert.pk], now=NOW) == [alert]
    assert unsnooze([alert.pk], now=NOW) == []
    assert Alert.objects.get().snoozed_until is None


def test_every_alert_is_in_the_list_of_its_state(db):
    states = {
        "open": {},
        "acknowledged": {"acknowledged_at": NOW},
        "snoozed": {"acknowledged_at": NOW, "snoozed_until": NOW + HOUR},
        "resolved": {"acknowledged_at": NOW, "snoozed_until": NOW + HOUR, "resolved_at": NOW},
    }
    for state, fields in states.items():
        Alert.objects.create(kind="a", scope=state, message="", **fields)
    found = {
        "open": Alert.objects.unattended(NOW),
        "acknowledged": Alert.objects.acknowledged(NOW),
        "snoozed": Alert.objects.snoozed(NOW),
        "resolved": Alert.objects.resolved(),
    }
    for state, rows in found.items():
        assert [(alert.scope, state_of(alert, NOW)) for alert in rows] == [(state, state)]


@pytest.mark.django_db(transaction=True)
def test_two_that_acknowledge_at_the_same_moment_change_it_once():
    for turn in range(5):
        alert = Alert.objects.create(kind="race", scope=str(turn), message="")
        changed = together(*[lambda alert=alert: acknowledge([alert.pk], now=NOW)] * 2)
        assert sorted(map(len, changed)) == [0, 1]


def test_closing_what_is_not_open_closes_nothing(db):
    assert close_alert("a", "1", now=NOW) == 0
    raise_alert("a", "1", "", now=NOW)
    raise_alert("a", "2", "", now=NOW)
    assert close_alert("a", "1", now=NOW) == 1
    assert close_alert("a", "1", now=NOW + HOUR) == 0
    assert Alert.objects.get(scope="1").resolved_at == NOW
    assert Alert.objects.get(scope="2").resolved_at is None


def test_the_database_holds_it_to_one_open_alert(db):
    raise_alert("a", "1", "", now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(kind="a", scope="1", message="")
    Alert.objects.create(kind="a", scope="1", message="", resolved_at=NOW)  # resolved ones may be many
    Alert.objects.create(kind="a", scope="1", message="", resolved_at=NOW)


@pytest.mark.django_db(transaction=True)
def test_two_that_see_it_at_the_same_moment_open_one_alert(caplog):
    for turn in range(10):
        together(*[lambda turn=turn: raise_alert("race", str(turn), "", now=NOW)] * 2)
    assert list(Alert.objects.values_list("times_seen", flat=True)) == [2] * 10
    assert len(errors(caplog)) == 10


@pytest.mark.django_db(transaction=True)
def test_an_alert_of_a_transaction_that_is_taken_back_lets_the_other_one_open():
    def taken_back():
        with transaction.atomic():
            raise_alert("race", "1", "first", now=NOW)
            transaction.set_rollback(True)

    together(taken_back, lambda: raise_alert("race", "1", "second", now=NOW))
    assert Alert.objects.get().message == "second"


def open_scopes() -> list[str]:
    return sorted(Alert.objects.open().values_list("scope", flat=True))


def elsewhere(scope: str) -> threading.Thread:
    """Raise an alert in a connection of its own."""

    def work() -> None:
        raise_alert("held", scope, "", now=NOW)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_alerts_whose_cause_is_gone_are_resolved_and_no_others(db):
    for kind, scope in (("held", "mmg"), ("held", "firetext"), ("other", "mmg")):
        raise_alert(kind, scope, "", now=NOW)
    assert close_gone("held", lambda: ["mmg", "somebody"], now=NOW + HOUR) == 1
    assert list(Alert.objects.open().order_by("kind").values_list("kind", "scope")) == [
        ("held", "mmg"),
        ("other", "mmg"),
    ]
    assert Alert.objects.get(scope="firetext").resolved_at == NOW + HOUR
    assert close_gone("held", lambda: ["mmg"], now=NOW + HOUR) == 0


@pytest.mark.django_db(transaction=True)
def test_an_alert_opened_while_the_others_are_judged_is_left_alone():
    raise_alert("held", "mmg", "", now=NOW)

    def judged() -> list[str]:
        elsewhere("firetext").join()
        return []  # read before firetext's cause was there

    assert close_gone("held", judged, now=NOW) == 1
    assert open_scopes() == ["firetext"]


@pytest.mark.django_db(transaction=True)
def test_an_alert_seen_again_while_it_is_judged_stays_or_opens_anew():
    raise_alert("held", "mmg", "", now=NOW)
    threads = []

    def judged() -> list[str]:
        threads.append(elsewhere("mmg"))
        return []

    assert close_gone("held", judged, now=NOW) == 1
    threads[0].join()
    assert open_scopes() == ["mmg"]
