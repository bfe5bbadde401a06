"""A provider whose configuration cannot be opened can be looked at, and mended, in the admin."""

import pytest
from django.db import connection

from notify.testing import make_provider
from providers.models import Provider
from providers.tests.test_admin import LIST, page, saved

pytestmark = pytest.mark.django_db
NOTHING = {"url": "", "receipt_user": ""}


@pytest.fixture
def broken():
    provider = make_provider()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET config = 'damaged' WHERE id = %s", [provider.pk])
    return provider


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT config FROM providers_provider")
        return bytes(cursor.fetchone()[0])


def test_its_page_opens_and_says_what_to_do(admin_client, broken):
    assert admin_client.get(LIST).status_code == 200
    shown = admin_client.get(page(broken))
    assert shown.status_code == 200
    assert "cannot be opened: a key is missing from ENCRYPTION_KEYS" in shown.content.decode()


def test_saved_without_credentials_what_is_stored_stays_for_a_key_that_comes_back(admin_client, broken):
    saved(admin_client, broken, **NOTHING, display_name="Another name")
    assert (Provider.objects.get().display_name, stored()) == ("Another name", b"damaged")


def test_credentials_entered_again_are_stored(admin_client, broken):
    found = saved(admin_client, broken, api_key="another", receipt_password="word")
    assert (found.config["api_key"], found.config["receipt_passwords"]) == ("another", ["word"])
    assert (found.config["url"], found.config["receipt_user"]) == ("https://sms.example.org/", "mmg")


@pytest.mark.parametrize("entered", [{"api_key": "k"}, {"receipt_password": "p"}, {"url": "https://a.example/"}])
def test_anything_that_is_entered_counts(admin_client, broken, entered):
    found = saved(admin_client, broken, **(NOTHING | entered))
    assert found.opened_config() is not None
