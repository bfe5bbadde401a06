"""The admin pages of endpoints and callbacks."""

import base64
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from standardwebhooks.webhooks import Webhook

from callbacks.forms import new_secret
from callbacks.models import Callback, Endpoint
from notify.fields import new_id
from notify.testing import make_endpoint, make_service

pytestmark = pytest.mark.django_db
LIST, CALLBACKS = "/admin/callbacks/endpoint/", "/admin/callbacks/callback/"


def page(endpoint):
    """Where an endpoint's page is."""
    return reverse("admin:callbacks_endpoint_change", args=[endpoint.pk])


def form(service=None, **fields):
    """Fill in the form; without a service it is that of a stored endpoint."""
    filled = {"url": "https://example.org/hook", "active": "on", "token": "", "signing_secret": ""}
    return filled | ({"service": str(service.pk), "token": "a token"} if service else {}) | fields


def make_callback(endpoint, **fields):
    """Make a callback of a message that need not exist."""
    defaults = {"notification_id": new_id(), "notification_status": "delivered", "payload": b"x"}
    return Callback.objects.create(endpoint=endpoint, **(defaults | fields))


def test_a_signing_secret_is_made_for_a_new_endpoint_and_receivers_can_use_it(admin_client):
    offered = admin_client.get(f"{LIST}add/").context["adminform"].form["signing_secret"].value()
    assert offered != admin_client.get(f"{LIST}add/").context["adminform"].form["signing_secret"].value()
    assert Webhook(offered).sign("id", datetime(2026, 7, 1, tzinfo=UTC), "{}")
    answer = admin_client.post(f"{LIST}add/", form(make_service(), signing_secret=offered))
    assert answer.status_code == 302
    endpoint = Endpoint.objects.get()
    assert (endpoint.bearer_token, endpoint.signing_secrets) == ("a token", [offered])


def test_no_page_shows_a_stored_secret(admin_client):
    endpoint = make_endpoint(bearer_token="the-token", signing_secrets=[new_secret()])
    mistaken = form(url="nonsense", token="token-just-typed")
    for answer in (
        admin_client.get(page(endpoint)),
        admin_client.get(LIST),
        admin_client.post(page(endpoint), mistaken),
    ):
        shown = answer.content.decode()
        assert answer.status_code == 200
        assert not [word for word in ("the-token", "just-typed", endpoint.signing_secrets[0]) if word in shown]
    assert "a bearer token, 1 signing secret" in admin_client.get(page(endpoint)).content.decode()


def test_secrets_left_empty_stay_and_two_signing_secrets_are_valid_during_a_change(admin_client):
    first, second, third = new_secret(), new_secret(), new_secret()
    endpoint = make_endpoint(bearer_token="the-token", signing_secrets=[first])
    for given, stored in (("", [first]), (second, [second, first]), (third, [third, second])):
        assert admin_client.post(page(endpoint), form(signing_secret=given)).status_code == 302
        endpoint.refresh_from_db()
        assert endpoint.signing_secrets == stored
    assert endpoint.bearer_token == "the-token"
    admin_client.post(page(endpoint), form(token="another"))
    endpoint.refresh_from_db()
    assert endpoint.bearer_token == "another"


def test_a_new_endpoint_needs_a_token(admin_client):
    admin_client.post(f"{LIST}add/", form(make_service(), token=""))
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(("size", "accepted"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_signing_secret_has_24_to_64_bytes(admin_client, size, accepted):
    secret = "whsec_" + base64.b64encode(bytes(size)).decode()
    admin_client.post(f"{LIST}add/", form(make_service(), signing_secret=secret))
    assert Endpoint.objects.exists() is accepted


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", base64.b64encode(bytes(32)).decode()])
def test_a_signing_secret_in_another_form_is_refused(admin_client, secret):
    answer = admin_client.post(f"{LIST}add/", form(make_service(), signing_secret=secret))
    assert "SIGNING_SECRET" in answer.content.decode()
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.org/", "CALLBACK_URL_SCHEME"),
        ("ftp://example.org/", "CALLBACK_URL_SCHEME"),
        ("https://user:pw@example.org/", "CALLBACK_URL_USERINFO"),
        ("https://example.org/#part", "CALLBACK_URL_MALFORMED"),
        ("https://example.org:70000/", "CALLBACK_URL_PORT"),
        ("https://example.org:22/", "CALLBACK_URL_PORT"),
        ("https://", "valid URL"),
        ("javascript:alert(1)", "valid URL"),
    ],
)
def test_an_address_that_may_not_be_called_is_refused(admin_client, url, code):
    answer = admin_client.post(f"{LIST}add/", form(make_service(), url=url))
    assert answer.status_code == 200
    assert code in answer.content.decode()
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize("url", ["https://example.org/", "https://example.org:8443/a?b=c"])
def test_an_https_address_on_a_usual_port_is_taken(admin_client, url):
    assert admin_client.post(f"{LIST}add/", form(make_service(), url=url)).status_code == 302


def test_a_trusted_target_may_be_plain_http(admin_client, settings):
    settings.CALLBACK_TRUSTED_TARGETS = ["localhost:9100"]
    admin_client.post(f"{LIST}add/", form(make_service(), url="http://localhost:9100/hook"))
    assert Endpoint.objects.exists()


def test_a_second_active_endpoint_of_a_service_is_refused_and_a_switched_off_one_is_not(admin_client):
    endpoint = make_endpoint()
    answer = admin_client.post(f"{LIST}add/", form(endpoint.service))
    assert "DUPLICATE_ENDPOINT" in answer.content.decode()
    without = {name: value for name, value in form(endpoint.service).items() if name != "active"}
    assert admin_client.post(f"{LIST}add/", without).status_code == 302
    assert Endpoint.objects.filter(active=True).count() == 1


def test_callbacks_show_local_times_and_are_neither_changed_nor_deleted(admin_client):
    callback = make_callback(make_endpoint(), created_at=datetime(2026, 7, 1, 8, 30, tzinfo=UTC))
    address = reverse("admin:callbacks_callback_change", args=[callback.pk])
    for listed in (CALLBACKS, address):
        assert "1 Jul 2026, 09:30 BST" in admin_client.get(listed).content.decode()
    assert admin_client.post(address, {"status": "delivered"}).status_code == 403
    delete = reverse("admin:callbacks_callback_delete", args=[callback.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Callback.objects.get().status == "pending"


def test_callbacks_are_found_by_their_message_and_by_their_endpoint(admin_client):
    endpoint = make_endpoint()
    callback = make_callback(endpoint)
    make_callback(make_endpoint())
    for query in ({"q": str(callback.notification_id)}, {"notification_id": callback.notification_id},
                  {"endpoint__id__exact": endpoint.pk}):  # fmt: skip
        assert list(admin_client.get(CALLBACKS, query).context["cl"].queryset) == [callback], query
    assert list(admin_client.get(CALLBACKS, {"q": "nonsense"}).context["cl"].queryset) == []


@pytest.mark.parametrize("listed", [LIST, CALLBACKS])
def test_the_lists_take_as_many_queries_for_twenty_rows_as_for_one(admin_client, listed):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(listed).status_code == 200
        return len(queries)

    make_callback(make_endpoint())
    one = count()
    for _ in range(19):
        make_callback(make_endpoint())
    assert count() == one
