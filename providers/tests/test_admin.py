"""The admin pages of providers: secrets go in and never come out, and traffic changes leave a trace."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notify.testing import make_notification, make_provider
from providers import receipts
from providers.models import Provider, ProviderChange, Receipt

pytestmark = pytest.mark.django_db
LIST = "/admin/providers/provider/"
NOW = datetime(2026, 7, 1, 8, 30, tzinfo=UTC)
SECRETS = {"api_key": "key-of-the-provider", "receipt_passwords": ["password-of-receipts"]}


def page(provider):
    """Where a provider's page is."""
    return reverse("admin:providers_provider_change", args=[provider.pk])


def form(**fields):
    """Fill in the form of the provider that make_provider makes; a field given as None is left out."""
    filled = {
        "display_name": "Mmg", "backend": Provider.Backend.MMG, "active": "on", "share": "50", "resting_share": "50",
        "unknown_outcome": "resend_once", "receipts": "on", "url": "https://sms.example.org/", "sender": "",
        "receipt_user": "mmg", "api_key": "", "receipt_password": "", "reason": "", "confirmation": "",
        "changes-TOTAL_FORMS": "0", "changes-INITIAL_FORMS": "0",
    } | fields  # fmt: skip
    return {name: value for name, value in filled.items() if value is not None}


def saved(client, provider, **fields):
    """Send the form, which must be accepted, and return the stored provider."""
    answer = client.post(page(provider), form(**fields))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    return Provider.objects.get(pk=provider.pk)


def refused(client, provider, **fields):
    """Send the form, which must be refused, and return its errors."""
    answer = client.post(page(provider), form(**fields))
    assert answer.status_code == 200
    return answer.context["adminform"].form.errors


def test_no_page_shows_a_secret(admin_client):
    provider = make_provider(config=SECRETS)
    mistaken = form(api_key="key-just-typed", receipt_password="password-just-typed", share="500")
    for answer in (
        admin_client.get(page(provider)),
        admin_client.get(LIST),
        admin_client.post(page(provider), mistaken),
    ):
        shown = answer.content.decode()
        assert answer.status_code == 200
        assert not [word for word in ("key-of-the", "password-of", "just-typed") if word in shown]
    assert "an API key, 1 receipt password" in admin_client.get(page(provider)).content.decode()


def test_secrets_left_empty_stay_and_a_new_receipt_password_is_valid_beside_the_one_before(admin_client):
    provider = make_provider(config=SECRETS | {"timeout": 5})
    stored = saved(admin_client, provider, url="https://other.example.org/")
    assert stored.config == SECRETS | {
        "timeout": 5, "url": "https://other.example.org/", "sender": "", "receipt_user": "mmg",
        "from_address": "", "esp": "",
    }  # fmt: skip
    stored = saved(admin_client, provider, api_key="another", receipt_password="second")
    assert stored.config["api_key"] == "another"
    assert stored.config["receipt_passwords"] == ["second", "password-of-receipts"]
    stored = saved(admin_client, provider, receipt_password="third")
    assert stored.config["receipt_passwords"] == ["third", "second"]


def test_a_provider_can_be_added_and_has_no_change_on_record(admin_client):
    fields = form(identifier="mmg", notification_type="sms", api_key="key")
    assert admin_client.post(f"{LIST}add/", fields).status_code == 302
    assert Provider.objects.get().config["api_key"] == "key"
    assert not ProviderChange.objects.exists()


def test_a_changed_share_needs_a_reason_and_is_recorded_with_who_and_why(admin_client, admin_user):
    provider = make_provider()
    assert "PROVIDER_REASON" in refused(admin_client, provider, share="80")["reason"][0]
    assert Provider.objects.get().share == 50
    saved(admin_client, provider, share="80", reason="cheaper this month")
    change = ProviderChange.objects.get()
    assert (change.share_before, change.share_after, change.changed_by) == (50, 80, admin_user)
    assert change.reason == "cheaper this month"


def test_switching_off_and_on_counts_as_a_change_from_and_to_nothing(admin_client):
    provider = make_provider()
    make_provider("firetext")
    saved(admin_client, provider, active=None, reason="out of order")
    saved(admin_client, provider, active="on", reason="mended")
    changes = ProviderChange.objects.order_by("created_at").values_list("share_before", "share_after")
    assert list(changes) == [(50, 0), (0, 50)]


def test_saving_what_leaves_traffic_alone_records_no_change(admin_client):
    saved(admin_client, make_provider(), display_name="Other name")
    assert not ProviderChange.objects.exists()


@pytest.mark.parametrize(("share", "accepted"), [("0", True), ("100", True), ("-1", False), ("101", False)])
def test_a_share_is_a_percentage(admin_client, share, accepted):
    answer = admin_client.post(page(make_provider()), form(share=share, reason="why"))
    assert (answer.status_code == 302) is accepted


def test_the_last_provider_of_a_channel_is_switched_off_only_when_its_name_is_typed(admin_client):
    provider = make_provider()
    make_provider("email")
    make_provider("firetext", active=False)
    off = {"active": None, "reason": "stop"}
    assert "LAST_PROVIDER" in refused(admin_client, provider, **off)["confirmation"][0]
    assert "LAST_PROVIDER" in refused(admin_client, provider, **off, confirmation="yes")["confirmation"][0]
    assert not saved(admin_client, provider, **off, confirmation="mmg").active


def test_a_receipt_is_shown_as_it_came_with_its_time_and_found_by_its_message(admin_client):
    provider, message = make_provider(), make_notification()
    receipts.store(provider, b'{"status": "3"}', "application/json", now=NOW)
    receipts.store(provider, b"other", "text/plain", now=NOW)
    receipt = Receipt.objects.order_by("pk").first()
    Receipt.objects.filter(pk=receipt.pk).update(notification_id=message.pk)
    address = reverse("admin:providers_receipt_change", args=[receipt.pk])
    shown = admin_client.get(address).content.decode()
    assert "{&quot;status&quot;: &quot;3&quot;}" in shown
    assert "1 Jul 2026, 09:30 BST" in shown
    for query in ({"q": str(message.pk)}, {"notification_id": str(message.pk)}):
        listed = admin_client.get("/admin/providers/receipt/", query)
        assert list(listed.context["cl"].queryset) == [receipt]
    assert list(admin_client.get("/admin/providers/receipt/?q=nonsense").context["cl"].queryset) == []
    assert admin_client.post(address, {"outcome": "x"}).status_code == 403


@pytest.mark.parametrize("listed", ["receipt", "providerchange", "provider"])
def test_the_lists_take_as_many_queries_for_twenty_rows_as_for_one(admin_client, admin_user, listed):
    def add(number):
        provider = make_provider(f"mmg{number}")
        receipts.store(provider, b"body", "text/plain", now=NOW)
        ProviderChange.objects.create(
            provider=provider, share_before=50, share_after=0, reason="x", changed_by=admin_user
        )

    def count():
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(f"/admin/providers/{listed}/").status_code == 200
        return len(queries)

    add(0)
    one = count()
    for number in range(1, 20):
        add(number)
    assert count() == one


def test_a_backend_of_another_channel_is_refused(admin_client):
    provider = make_provider()
    for backend in (Provider.Backend.EMAIL, Provider.Backend.POSTAL):
        assert "PROVIDER_CHANNEL" in refused(admin_client, provider, backend=backend)["backend"][0]
    assert saved(admin_client, provider, backend=Provider.Backend.FIRETEXT).backend == Provider.Backend.FIRETEXT
