"""A change by hand holds the whole channel, and nothing is overwritten that changed meanwhile."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from notify.clock import zone
from notify.testing import make_notification, make_provider, make_template
from notify.tests.together import together
from providers import manual, switching
from providers.models import Provider, ProviderChange
from providers.tests.test_admin import LIST, form, page, refused, saved

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # half an hour before the clocks go forward
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
CHANGE = {"share": "80", "reason": "cheaper this month"}


def local(moment):
    """Write a moment as the form's two boxes take it."""
    there = moment.astimezone(zone())
    return {"hold_until_0": f"{there:%Y-%m-%d}", "hold_until_1": f"{there:%H:%M:%S}"}


def holds():
    """Return each provider's hold, by identifier."""
    return dict(Provider.objects.values_list("identifier", "held_until"))


@pytest.fixture
def channel(db):
    return make_provider("mmg"), make_provider("firetext"), make_provider("email")


@pytest.mark.time_machine(NOW, tick=False)
def test_a_change_holds_every_provider_of_its_channel_for_four_hours_and_no_other(channel, admin_client):
    saved(admin_client, channel[0], **CHANGE)
    assert holds() == {"mmg": NOW + 4 * HOUR, "firetext": NOW + 4 * HOUR, "email": None}
    assert set(Provider.objects.exclude(identifier="email").values_list("hold_reason", flat=True)) == {
        "cheaper this month"
    }


@pytest.mark.time_machine(NOW, tick=False)
@pytest.mark.parametrize("zone_name", ["Europe/London", "America/New_York"])
@pytest.mark.parametrize(("day", "refusal"), [("9998-12-30", ""), ("9999-12-31", "HOLD_FAR")])
def test_a_hold_that_no_date_can_hold_is_refused(channel, admin_client, settings, zone_name, day, refusal):
    settings.NOTIFY_TIME_ZONE = zone_name
    asked = CHANGE | {"hold": "until", "hold_until_0": day, "hold_until_1": "22:00:00"}
    if refusal:
        assert refused(admin_client, channel[0], **asked)["hold_until"][0].startswith(refusal)
    else:
        saved(admin_client, channel[0], **asked)
    assert admin_client.get(LIST).status_code == 200


@pytest.mark.time_machine(NOW, tick=False)
def test_the_hold_can_last_until_a_local_time_until_released_or_not_at_all(channel, admin_client):
    mmg = channel[0]
    until = NOW + 2 * HOUR  # 03:30 summer time
    assert local(until)["hold_until_1"] == "03:30:00"
    saved(admin_client, mmg, **CHANGE, hold="until", **local(until))
    assert holds()["firetext"] == until
    saved(admin_client, mmg, share="70", reason="x", hold="released")
    assert holds()["firetext"] == manual.UNTIL_RELEASED
    assert "released by hand" in admin_client.get(page(mmg)).content.decode()
    saved(admin_client, mmg, share="60", reason="x", hold="none")
    assert holds() == {"mmg": None, "firetext": None, "email": None}
    assert ProviderChange.objects.count() == 3


@pytest.mark.time_machine(NOW, tick=False)
def test_a_hold_that_would_have_ended_already_is_refused_and_the_form_keeps_what_was_typed(channel, admin_client):
    for until in (NOW, NOW - SECOND):
        found = refused(admin_client, channel[0], **CHANGE, hold="until", **local(until))
        assert found["hold_until"][0].startswith("HOLD_PAST")
    answer = admin_client.post(page(channel[0]), form(**CHANGE, hold="until", **local(NOW)))
    assert "cheaper this month" in answer.content.decode()
    assert holds()["mmg"] is None
    assert not ProviderChange.objects.exists()


def test_saving_what_leaves_traffic_alone_holds_nothing_and_ends_no_hold(channel, admin_client):
    Provider.objects.filter(identifier="mmg").update(held_until=manual.UNTIL_RELEASED)
    saved(admin_client, channel[0], display_name="Other name", hold="none")
    assert holds() == {"mmg": manual.UNTIL_RELEASED, "firetext": None, "email": None}


def test_a_page_opened_before_a_rule_moved_the_share_cannot_undo_that(channel, admin_client):
    seen = admin_client.get(page(channel[0])).context["adminform"].form.initial["seen"]
    Provider.objects.filter(identifier="mmg").update(share=0)
    found = refused(admin_client, channel[0], display_name="Other name", seen=seen)
    assert "PROVIDER_CHANGED" in found["__all__"][0]
    assert Provider.objects.get(identifier="mmg").share == 0
    saved(admin_client, channel[0], share="0", display_name="Other name", seen="0 True")


def test_the_release_ends_the_whole_channels_hold_once_and_leaves_a_trace(channel, admin_client):
    Provider.objects.filter(notification_type="sms").update(held_until=manual.UNTIL_RELEASED, hold_reason="x")
    post = {"action": "release_hold", "_selected_action": [channel[0].pk]}
    assert b"automatic rules apply again" in admin_client.post(LIST, post, follow=True).content
    assert set(holds().values()) == {None}
    assert sorted(LogEntry.objects.values_list("object_repr", flat=True)) == ["Firetext", "Mmg"]
    assert b"Already done" in admin_client.post(LIST, post, follow=True).content
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize(("held_for", "moves"), [(SECOND, 0), (timedelta(0), 2), (-SECOND, 2)])
def test_no_rule_moves_a_held_share_and_the_hold_ends_at_its_moment(channel, held_for, moves):
    template = make_template()
    for _ in range(10):
        make_notification(template=template, status="sending", provider_name="mmg", sent_at=NOW - 300 * SECOND)
    Provider.objects.filter(notification_type="sms").update(held_until=NOW + held_for)
    assert switching.switch_on_slow_delivery(now=NOW)["repaired"] == moves


@pytest.mark.django_db(transaction=True)
def test_the_last_two_providers_cannot_be_switched_off_by_two_people_at_once(django_user_model):
    providers = make_provider("mmg"), make_provider("firetext")
    boss = django_user_model.objects.create_superuser("boss", password="a long password")

    def switch_off(provider):
        client = Client()
        client.force_login(boss)
        backend = provider.backend
        return client.post(page(provider), form(active=None, reason="stop", backend=backend)).status_code

    answers = together(*[lambda provider=provider: switch_off(provider) for provider in providers])
    assert sorted(answers) == [200, 302]
    assert Provider.objects.filter(active=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_rule_waits_for_the_change_that_is_being_stored_and_then_sees_its_hold():
    make_provider("mmg"), make_provider("firetext")
    locked = threading.Event()
    template = make_template()
    for _ in range(10):
        make_notification(template=template, status="sending", provider_name="mmg", sent_at=NOW - 300 * SECOND)

    def change():
        with transaction.atomic():
            rows = Provider.objects.locked("sms")
            mmg = next(row for row in rows if row.identifier == "mmg")
            locked.set()
            wait_for_waiter()
            manual.record_change(
                mmg, before=50, after=80, reason="x", held_until=NOW + HOUR, by=None, now=NOW - 3600 * SECOND
            )
            Provider.objects.filter(pk=mmg.pk).update(share=80)

    def rule():
        locked.wait(60)
        return switching.switch_on_slow_delivery(now=NOW)

    def wait_for_waiter():
        with connection.cursor() as cursor:
            for _ in range(200):
                cursor.execute("SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                               "AND datname = current_database()")  # fmt: skip
                if cursor.fetchone()[0]:
                    return

    _, found = together(change, rule)
    assert found["repaired"] == 0
    assert dict(Provider.objects.values_list("identifier", "share")) == {"mmg": 80, "firetext": 50}


def test_the_form_shows_the_hold_choices_with_their_zone(channel, admin_client):
    shown = admin_client.get(reverse("admin:providers_provider_change", args=[channel[0].pk])).content.decode()
    assert "Europe/London time; empty: for 4" in shown
    assert shown.count('name="hold"') == 3
