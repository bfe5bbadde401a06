"""The admin pages of alerts: lists by state, acknowledging, and who was told."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from notify.alerts import raise_alert
from notify.models import Alert
from notify.tests.alert_pages import HOUR, LIST, NOON, SECOND, act, attend, history, listed, make

pytestmark = pytest.mark.django_db


def test_open_alerts_are_listed_first_and_acknowledged_once(admin_client):
    raise_alert("job-stalled", "job 1", "It stopped.", now=NOON)
    alert = Alert.objects.get()
    Alert.objects.create(kind="job-stalled", scope="job 2", message="Over.", resolved_at=NOON)
    assert list(admin_client.get("/admin/notify/alert/").context["cl"].queryset) == [alert]
    action = {"action": "acknowledge", "_selected_action": [str(alert.pk)]}
    for told in ("Acknowledged: 1.", "Acknowledged: 0."):
        assert told in admin_client.post("/admin/notify/alert/", action, follow=True).content.decode()
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None
    assert len(admin_client.get("/admin/notify/alert/?state=all").context["cl"].queryset) == 2
    assert len(admin_client.get("/admin/notify/alert/?state=resolved").context["cl"].queryset) == 1


def test_each_state_has_its_list(admin_client):
    now = timezone.now()
    make("open")
    make("acknowledged", acknowledged_at=now)
    make("snoozed", snoozed_until=now + HOUR)
    make("was snoozed", snoozed_until=now - HOUR)
    make("resolved", resolved_at=now)
    assert listed(admin_client) == ["acknowledged", "open", "snoozed", "was snoozed"]
    assert listed(admin_client, state="unattended") == ["open", "was snoozed"]
    assert listed(admin_client, state="acknowledged") == ["acknowledged"]
    assert listed(admin_client, state="snoozed") == ["snoozed"]
    assert listed(admin_client, state="resolved") == ["resolved"]
    assert len(listed(admin_client, state="all")) == 5
    assert listed(admin_client, state="nonsense") == listed(admin_client)


def test_one_that_resolved_itself_says_when(admin_client):
    alert = make(resolved_at=NOON)
    for address in (f"{LIST}?state=resolved", reverse("admin:notify_alert_change", args=[alert.pk])):
        shown = " ".join(admin_client.get(address).content.decode().split())
        assert "resolved</span> since 1 Jul 2026, 12:00 BST" in shown


def test_an_empty_list_says_that_nothing_is_wrong(admin_client):
    assert "Nothing is wrong: no alert is open." in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("way", ["action", "button"])
def test_acknowledging_leaves_one_entry_in_the_history(admin_client, admin_user, way):
    alert = make()
    do = act if way == "action" else lambda client, name, alert: attend(client, alert, name)
    assert "Acknowledged: 1." in do(admin_client, "acknowledge", alert)
    assert "Acknowledged: 0." in do(admin_client, "acknowledge", alert)
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None
    assert history() == [(str(alert.pk), "Acknowledged.")]
    assert LogEntry.objects.get().user == admin_user
    assert "Acknowledged." in admin_client.get(reverse("admin:notify_alert_history", args=[alert.pk])).content.decode()


def test_the_page_offers_what_fits_the_state(admin_client):
    later = timezone.now() + HOUR
    for fields, offered in (
        ({}, {"Acknowledge", "Snooze"}),
        ({"acknowledged_at": NOON}, {"Snooze"}),
        ({"snoozed_until": later}, {"Acknowledge", "Snooze", "End the snooze"}),
        ({"resolved_at": NOON}, set()),
    ):
        alert = make("x", **fields)
        shown = admin_client.get(reverse("admin:notify_alert_change", args=[alert.pk])).content.decode()
        found = {words for words in ("Acknowledge", "Snooze", "End the snooze") if f">{words}</a>" in shown}
        assert found == offered
        alert.delete()


def test_who_may_only_look_changes_nothing(client):
    visitor = User.objects.create_user("visitor", is_staff=True)
    visitor.user_permissions.set(Permission.objects.filter(codename="view_alert"))
    client.force_login(visitor)
    alert = make()
    page = client.get(reverse("admin:notify_alert_change", args=[alert.pk]))
    assert page.status_code == 200
    for name in ("acknowledge", "snooze", "unsnooze"):
        address = reverse(f"admin:notify_alert_{name}", args=[alert.pk])
        assert address not in page.content.decode()
        assert client.get(address).status_code == client.post(address, {"until": "2027-01-01T09:00"}).status_code == 403
        act(client, name, alert)
    alert.refresh_from_db()
    assert (alert.acknowledged_at, alert.snoozed_until) == (None, None)
    client.logout()
    assert client.get(reverse("admin:notify_alert_snooze", args=[alert.pk])).status_code == 302


def test_an_alert_that_is_gone_is_not_found(admin_client):
    address = reverse("admin:notify_alert_acknowledge", args=["018f3c1e-0000-7000-8000-000000000000"])
    assert admin_client.get(address).status_code == admin_client.post(address).status_code == 404


def test_looking_at_the_buttons_page_changes_nothing(admin_client):
    alert = make()
    for name in ("acknowledge", "snooze", "unsnooze"):
        assert admin_client.get(reverse(f"admin:notify_alert_{name}", args=[alert.pk])).status_code == 200
    assert Alert.objects.filter(acknowledged_at=None, snoozed_until=None).count() == 1


def test_the_told_column_names_each_channel_and_what_is_overdue(admin_client, settings):
    settings.ALERTS_ENABLED = True
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.org"], "https://hooks.example.org/x"
    now = timezone.now()
    make("told", email_told_at=now, webhook_told_at=now)
    make("waits", email_told_at=now)
    make("late", webhook_told_at=now, first_seen_at=now - HOUR - SECOND, email_attempts=3, email_due_at=now + HOUR,
         email_error="ConnectionRefusedError")  # fmt: skip
    shown = admin_client.get(LIST).content.decode()
    assert shown.count('badge-good">webhook told') == 2
    assert shown.count('badge-quiet">webhook not told') == 1
    assert shown.count('badge-good">email told') == 2
    assert shown.count('badge-bad">email not told') == 1
    assert listed(admin_client, state="untold") == ["late"]
    page = admin_client.get(reverse("admin:notify_alert_change", args=[Alert.objects.get(scope="late").pk]))
    assert "Not told after 3 tries (ConnectionRefusedError); again on " in page.content.decode()
    Alert.objects.filter(scope="late").update(email_claimed_at=now)
    page = admin_client.get(reverse("admin:notify_alert_change", args=[Alert.objects.get(scope="late").pk]))
    assert "Try 3 is on its way, or a crash cut it off" in page.content.decode()
    settings.ALERTS_ENABLED = False
    page = admin_client.get(reverse("admin:notify_alert_change", args=[Alert.objects.get(scope="late").pk]))
    assert "Alerts are off here" in page.content.decode()
    assert "email not told" not in admin_client.get(LIST).content.decode()


def test_a_list_of_twenty_costs_as_many_queries_as_one_of_one(admin_client, settings):
    settings.ALERTS_ENABLED, settings.ALERT_EMAILS = True, ["ops@example.org"]
    make()
    with CaptureQueriesContext(connection) as one:
        admin_client.get(LIST)
    for number in range(19):
        make(f"other {number}", email_attempts=1)
    with CaptureQueriesContext(connection) as twenty:
        admin_client.get(LIST)
    assert len(one) == len(twenty)


def test_markup_in_an_alert_is_text(admin_client):
    alert = make("<script>alert(1)</script>")
    addresses = [reverse(f"admin:notify_alert_{page}", args=[alert.pk]) for page in ("change", "snooze", "acknowledge")]
    for address in (LIST, *addresses):
        assert "<script>alert(1)" not in admin_client.get(address).content.decode()
