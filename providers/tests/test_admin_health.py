"""The pages on a provider's health and on trying a policy: who may see them, what they say, and their bounds."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notify.models import Notification
from notify.testing import make_notification, make_provider, make_template
from providers import admin_backtest
from providers.models import ProviderChange, SwitchPolicy
from providers.switching import TENDED

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BACKTEST = "/admin/providers/switchpolicy/backtest/"


@pytest.fixture(autouse=True)
def noon():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def mmg():
    return make_provider("mmg")


def page(provider, query=""):
    return reverse("admin:providers_provider_health", args=[provider.pk]) + query


def sent(count, minutes_ago, *, after=MINUTE, provider="mmg", template=None):
    at = NOW - minutes_ago * MINUTE
    template = template or make_template()
    for _ in range(count):
        make_notification(
            template=template, status="delivered", provider_name=provider, created_at=at, sent_at=at,
            delivered_at=at + after, updated_at=at + after,
        )  # fmt: skip


def slow_morning():
    """Two providers, ten messages each at eleven and half of mmg's slow: enough to switch."""
    template = make_template()
    make_provider("firetext")
    sent(10, 60, template=template)
    sent(5, 60, after=8 * MINUTE, template=template)
    sent(10, 60, provider="firetext", template=template)


def person(client, *codenames):
    """Sign in a member of staff who may do only this."""
    user = User.objects.create_user("member", password="a-password-for-tests", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)


def test_a_providers_page_leads_to_its_health_but_not_a_letters(admin_client, mmg):
    def shown(provider):
        return admin_client.get(reverse("admin:providers_provider_change", args=[provider.pk])).content.decode()

    postal = make_provider("postal")
    assert page(mmg) in shown(mmg)
    assert "health/" not in shown(postal)
    assert admin_client.get(page(postal)).status_code == 404
    assert admin_client.get("/admin/providers/provider/add/").status_code == 200


def test_the_page_shows_what_was_carried_and_why_the_share_changed(admin_client, mmg):
    sent(12, 30)
    sent(4, 30, after=5 * MINUTE)
    person = User.objects.create(username="operator")
    for minutes, before, after, reason, by in (
        (25, 50, 0, "slow: mmg (4 of 16 messages)", None), (15, 0, 10, TENDED, None), (5, 10, 40, "they called", person)
    ):  # fmt: skip
        ProviderChange.objects.create(provider=mmg, share_before=before, share_after=after, reason=reason,
                                      changed_by=by, created_at=NOW - minutes * MINUTE)  # fmt: skip
    shown = admin_client.get(page(mmg, "?hours=1")).content.decode()
    assert "<strong>16</strong> handed over" in shown
    assert "<strong>25.0%</strong> slow: 4 minutes or more" in shown
    assert shown.count('<svg class="chart"') == 3
    # The switch and the person's change are marked in each chart, the small step is not.
    assert re.findall(r'text-anchor="middle">(\d+)</text></g>', shown) == ["1", "2"] * 3
    assert "slow: mmg (4 of 16 messages)" in shown
    assert "they called" in shown
    assert "operator" in shown


def test_nothing_on_the_page_needs_script_or_style_attributes(admin_client, mmg):
    sent(20, 30)
    for address in (page(mmg), f"{BACKTEST}?days=1"):
        shown = admin_client.get(address).content.decode()
        content = shown[shown.index('id="content-main"') : shown.index('id="footer"')]
        assert not re.search(r"<script|style=|<style|\son[a-z]+=", content)


def test_without_messages_it_says_so(admin_client, mmg):
    shown = admin_client.get(page(mmg)).content.decode()
    assert "No message was handed to Mmg in this time." in shown
    assert "The share did not change in this time." in shown
    assert "<svg class=" not in shown
    mmg.active = False
    mmg.save()
    assert "it is switched off" in admin_client.get(page(mmg)).content.decode()


@pytest.mark.parametrize("query", ["?hours=2", "?hours=", "?hours=abc", "?hours=-1", "?hours=01", "?hours=1e3"])
def test_other_times_are_not_there(admin_client, mmg, query):
    assert admin_client.get(page(mmg, query)).status_code == 404


@pytest.mark.parametrize("pk", [0, 999_999, 10**30])
def test_a_provider_that_is_not_there_has_no_page(admin_client, pk):
    assert admin_client.get(f"/admin/providers/provider/{pk}/health/").status_code == 404


def test_the_page_needs_no_credentials_of_the_provider(admin_client, mmg):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET config = 'sealed with a key that is gone'")
    assert admin_client.get(page(mmg)).status_code == 200


def test_the_pages_are_for_those_who_may_see_the_rows_and_only_read(client, mmg):
    person(client, "view_receipt")
    assert client.get(page(mmg)).status_code == 404
    assert client.get(BACKTEST).status_code == 403
    User.objects.get().user_permissions.set(
        Permission.objects.filter(codename__in=["view_provider", "view_switchpolicy"])
    )
    assert client.get(page(mmg)).status_code == client.get(BACKTEST).status_code == 200
    assert client.post(page(mmg)).status_code == client.post(BACKTEST).status_code == 405
    client.logout()
    assert client.get(page(mmg)).status_code == 302


def test_the_pages_queries_do_not_grow(admin_client, mmg):
    def queries(address):
        with CaptureQueriesContext(connection) as caught:
            assert admin_client.get(address).status_code == 200
        return len(caught)

    template, addresses = make_template(), (page(mmg), f"{BACKTEST}?days=1")
    ProviderChange.objects.create(provider=mmg, share_before=1, share_after=2, reason="x", created_at=NOW - MINUTE)
    for address in addresses:
        queries(address)  # what is kept between requests is read now
    before = [queries(address) for address in addresses]
    for minutes in range(1, 40):
        sent(1, minutes, template=template)
        ProviderChange.objects.create(provider=mmg, share_before=1, share_after=2, reason="x", changed_by=None,
                                      created_at=NOW - minutes * MINUTE)  # fmt: skip
    assert [queries(address) for address in addresses] == before
    assert max(before) < 20


def test_the_policies_lead_to_trying_them(admin_client):
    assert BACKTEST in admin_client.get("/admin/providers/switchpolicy/").content.decode()
    policy = SwitchPolicy.objects.create(notification_type="email", threshold=0.35)
    shown = admin_client.get(reverse("admin:providers_switchpolicy_change", args=[policy.pk])).content.decode()
    assert f"{BACKTEST}?type=email" in shown
    assert 'value="0.35"' in admin_client.get(f"{BACKTEST}?type=email").content.decode()
    assert 'value="0.2"' in admin_client.get(f"{BACKTEST}?type=nonsense").content.decode()


def test_a_policy_is_tried_on_stored_history_and_nothing_changes(admin_client, mmg):
    slow_morning()
    shown = admin_client.get(f"{BACKTEST}?type=sms&days=1").content.decode()
    assert "1 switch, 0 of them back within an hour" in shown
    assert "mmg (5 of 15 messages)" in shown
    assert "24 Nov 2026, 11:04 GMT" in shown
    assert shown.count('<svg class="chart"') == 2
    assert not ProviderChange.objects.exists()
    other = admin_client.get(f"{BACKTEST}?type=sms&days=1&threshold=0.4").content.decode()
    assert "It would not have switched." in other
    assert 'value="0.4"' in other
    assert 'value="10"' in other  # what was left out is shown as it was used


@pytest.mark.parametrize("threshold", ["NaN", "10%", "0", "1.5", "1e-400", "inf"])
def test_a_threshold_out_of_range_is_refused_by_its_field(admin_client, threshold):
    answer = admin_client.get(BACKTEST, {"type": "sms", "days": "1", "threshold": threshold})
    assert answer.status_code == 200
    assert "THRESHOLD_RANGE" in answer.content.decode()
    assert "What it would have done" not in answer.content.decode()


def test_more_than_a_page_view_can_read_is_left_to_the_command(admin_client, mmg, monkeypatch):
    sent(3, 60)
    assert "backtest_policy --days 8" in admin_client.get(f"{BACKTEST}?days=8").content.decode()
    monkeypatch.setattr(admin_backtest, "MESSAGES", 2)
    shown = admin_client.get(f"{BACKTEST}?days=7").content.decode()
    assert "More than 2 messages" in shown
    assert "What it would have done" not in shown
    monkeypatch.setattr(admin_backtest, "MESSAGES", 3)
    assert "What it would have done" in admin_client.get(f"{BACKTEST}?days=7").content.decode()


def test_without_providers_a_trial_says_so(admin_client):
    assert "There is no provider of this channel." in admin_client.get(f"{BACKTEST}?days=1").content.decode()
    assert not Notification.objects.exists()
