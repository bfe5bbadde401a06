"""Encrypted settings and secrets: plain in Python, ciphertext in the table, opened at the first look."""

import pytest
from django.core import serializers
from django.db import connection

from notify import crypto, testing
from notify.fields import Sealed


def test_encrypted_settings_come_back_and_are_not_readable_in_the_table(db):
    endpoint = testing.make_endpoint(bearer_token="very-secret", signing_secrets=["whsec_a", "whsec_b"])
    again = type(endpoint).objects.get()
    assert (again.bearer_token, again.signing_secrets) == ("very-secret", ["whsec_a", "whsec_b"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT bearer_token, signing_secrets FROM callbacks_endpoint")
        assert b"secret" not in b"".join(map(bytes, cursor.fetchone()))
    type(endpoint).objects.update(bearer_token="changed")
    (sealed,) = type(endpoint).objects.values_list("bearer_token", flat=True)
    assert isinstance(sealed, Sealed)
    assert type(endpoint)._meta.get_field("bearer_token").open(sealed) == "changed"


def test_encrypted_settings_that_cannot_be_opened_stop_only_who_looks_at_them(db):
    endpoint = testing.make_endpoint(signing_secrets=["whsec_a"])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE callbacks_endpoint SET bearer_token = 'damaged'")
    found = type(endpoint).objects.get()
    assert found.signing_secrets == ["whsec_a"]
    with pytest.raises(crypto.Unreadable):
        _ = found.bearer_token
    found.url = "https://example.org/other"
    found.save()  # what was not opened goes back as it came
    with connection.cursor() as cursor:
        cursor.execute("SELECT bearer_token, url FROM callbacks_endpoint")
        damaged, url = cursor.fetchone()
    assert (bytes(damaged), url) == (b"damaged", "https://example.org/other")
    found.bearer_token = "entered again"
    found.save()
    assert type(endpoint).objects.get().bearer_token == "entered again"


def test_encrypted_settings_are_not_dumped(db):
    endpoint = testing.make_endpoint(bearer_token="very-secret")
    with pytest.raises(TypeError, match="bearer_token is encrypted"):
        serializers.serialize("json", [endpoint])
