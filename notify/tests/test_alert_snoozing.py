"""Alerts put off until a time, from their list and from their page."""

from datetime import time, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from notify.alerts import snooze
from notify.clock import at_local, local_date
from notify.models import Alert
from notify.tests.alert_pages import HOUR, LIST, act, attend, history, make

pytestmark = pytest.mark.django_db


def test_snoozing_offers_nine_tomorrow_local_time(admin_client):
    alert = make()
    tomorrow = local_date(timezone.now()) + timedelta(days=1)
    shown = admin_client.get(reverse("admin:notify_alert_snooze", args=[alert.pk])).content.decode()
    assert f'value="{tomorrow}T09:00"' in shown
    assert "Europe/London time" in shown
    assert f"Snoozed until {tomorrow:%-d %b %Y}, 09:00" in attend(
        admin_client, alert, "snooze", until=f"{tomorrow}T09:00"
    )
    alert.refresh_from_db()
    assert alert.snoozed_until == at_local(tomorrow, time(9))
    assert [entry[1].split(",")[0] for entry in history()] == [f"Snoozed until {tomorrow:%-d %b %Y}"]


def test_several_are_snoozed_together_and_each_gets_its_entry(admin_client):
    alerts = [make(f"job {number}") for number in range(3)]
    asked = act(admin_client, "snooze", *alerts[:2])
    assert "Snooze until" in asked
    assert all(str(alert.pk) in asked for alert in alerts[:2])
    assert not Alert.objects.filter(snoozed_until__isnull=False).exists()
    until = local_date(timezone.now()) + timedelta(days=2)
    assert ": 2." in act(admin_client, "snooze", *alerts[:2], until=f"{until}T10:30")
    assert set(Alert.objects.values_list("scope", "snoozed_until")) == {
        ("job 0", at_local(until, time(10, 30))), ("job 1", at_local(until, time(10, 30))), ("job 2", None),
    }  # fmt: skip
    assert len(history()) == 2


@pytest.mark.parametrize("way", ["action", "button"])
@pytest.mark.parametrize(
    ("until", "told"),
    [
        ("", "This field is required"),
        ("tomorrow", "Enter a valid date/time"),
        ("2020-01-01T09:00", "SNOOZE_PAST"),
        ("9999-12-31T23:59", "SNOOZE_TOO_LONG"),
        ("0001-01-01T00:00", ""),
        ("2027-03-28T01:30", "2027-03-28"),  # clocks skip it
    ],
)
def test_a_time_that_cannot_be_meant_is_refused_and_nothing_changes(admin_client, way, until, told):
    alert = make()
    if way == "action":
        shown = act(admin_client, "snooze", alert, until=until)
    else:
        shown = attend(admin_client, alert, "snooze", until=until)
    assert "errorlist" in shown
    assert told in shown
    alert.refresh_from_db()
    assert alert.snoozed_until is None
    assert history() == []


@pytest.mark.parametrize("way", ["action", "button"])
def test_a_snooze_is_ended_by_hand(admin_client, way):
    alert = make(snoozed_until=timezone.now() + HOUR)
    do = act if way == "action" else lambda client, name, alert: attend(client, alert, name)
    assert "No longer snoozed: 1." in do(admin_client, "unsnooze", alert)
    assert "No longer snoozed: 0." in do(admin_client, "unsnooze", alert)
    alert.refresh_from_db()
    assert alert.snoozed_until is None
    assert history() == [(str(alert.pk), "No longer snoozed.")]


def test_a_snoozed_alert_shows_until_when(admin_client):
    alert = make()
    until = timezone.now() + 3 * HOUR
    snooze([alert.pk], until=until)
    assert "snoozed</span> until " in " ".join(admin_client.get(LIST).content.decode().split())
