"""One open alert per kind and scope, counted, told once, resolved and opened anew."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from notify.alerts import close_alert, raise_alert
from notify.models import Alert
from notify.tests.together import together

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def errors(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


def test_a_new_alert_is_stored_and_logged_as_an_error(db, caplog):
    raise_alert("job-stalled", "job 7", "It stopped. Look at it.", now=NOW)
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.message) == ("job-stalled", "job 7", "It stopped. Look at it.")
    assert (alert.times_seen, alert.first_seen_at, alert.last_seen_at) == (1, NOW, NOW)
    assert (alert.resolved_at, alert.acknowledged_at, alert.snoozed_until) == (None, None, None)
    assert errors(caplog) == ["Alert job-stalled for job 7: It stopped. Look at it."]


def test_the_same_alert_again_counts_and_is_not_logged_again(db, caplog):
    for hours in range(3):
        raise_alert("job-stalled", "job 7", f"Seen {hours}", now=NOW + hours * HOUR)
    alert = Alert.objects.get()
    assert (alert.times_seen, alert.first_seen_at, alert.last_seen_at) == (3, NOW, NOW + 2 * HOUR)
    assert alert.message == "Seen 2"
    assert len(errors(caplog)) == 1


def test_another_kind_or_scope_is_another_alert(db, caplog):
    for kind, scope in (("a", "1"), ("a", "2"), ("b", "1")):
        raise_alert(kind, scope, "", now=NOW)
    assert Alert.objects.open().count() == len(errors(caplog)) == 3


def test_an_acknowledged_or_snoozed_alert_goes_on_counting(db):
    raise_alert("a", "1", "", now=NOW)
    Alert.objects.update(acknowledged_at=NOW, snoozed_until=NOW + HOUR)
    raise_alert("a", "1", "", now=NOW + HOUR)
    alert = Alert.objects.get()
    assert (alert.times_seen, alert.acknowledged_at, alert.snoozed_until) == (2, NOW, NOW + HOUR)


def test_it_resolves_and_opens_anew(db, caplog):
    raise_alert("a", "1", "", now=NOW)
    assert close_alert("a", "1", now=NOW + HOUR) == 1
    assert Alert.objects.get().resolved_at == NOW + HOUR
    raise_alert("a", "1", "", now=NOW + 2 * HOUR)
    assert Alert.objects.count() == 2
    assert Alert.objects.open().get().times_seen == 1
    assert Alert.objects.get(resolved_at__isnull=False).times_seen == 1
    assert len(errors(caplog)) == 2


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
