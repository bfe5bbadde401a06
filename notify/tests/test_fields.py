"""Sealed and encrypted columns through every way Django reads and writes a row."""

import pickle
import time
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.db import connection, transaction

from notify import crypto, testing
from notify.fields import Sealed, SealedField, new_id
from notify.models import Notification

PLAIN = "+447700900123"
VALUES = {"name": "Zoë \x00 “quoted”", "date": "1 May", "empty": ""}


def raw(notification: Notification, column: str = "recipient") -> bytes:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM notify_notification WHERE id = %s", [notification.pk])
        return bytes(cursor.fetchone()[0])


@pytest.fixture
def stored(db):
    return testing.make_notification(recipient=PLAIN, personalisation=VALUES)


def test_keys_are_in_the_order_of_their_making():
    keys = []
    for _ in range(3):
        keys.append(new_id())
        time.sleep(0.002)
    assert keys == sorted(keys)
    assert {key.version for key in keys} == {7}
    assert len({new_id() for _ in range(1_000)}) == 1_000
    assert isinstance(keys[0], UUID)


def test_the_plain_value_is_in_python_and_never_in_the_table(stored):
    found = Notification.objects.get()
    assert (found.recipient, found.personalisation) == (PLAIN, VALUES)
    assert b"7700900123" not in raw(stored)
    assert "Zoë".encode() not in raw(stored, "personalisation")


@pytest.mark.parametrize(
    "query",
    [
        lambda rows: rows.only("status"),
        lambda rows: rows.only("pk", "recipient"),
        lambda rows: rows.defer("recipient"),
        lambda rows: rows.defer("recipient", "personalisation"),
        lambda rows: rows.select_related("service"),
    ],
    ids=["only status", "only recipient", "defer one", "defer both", "joined"],
)
def test_a_deferred_column_is_opened_when_it_is_looked_at(stored, query):
    found = query(Notification.objects).get()
    assert (found.recipient, found.personalisation) == (PLAIN, VALUES)


def test_a_deferred_row_is_saved_without_touching_what_it_did_not_load(stored):
    before = raw(stored)
    found = Notification.objects.defer("recipient").get()
    found.client_reference = "changed"
    found.save()
    assert raw(stored) == before
    assert Notification.objects.get().client_reference == "changed"


def test_what_was_not_opened_goes_back_as_it_came(stored):
    before = raw(stored)
    Notification.objects.get().save()
    assert raw(stored) == before


def test_what_was_opened_and_saved_can_be_read_again(stored):
    before = raw(stored)
    found = Notification.objects.get()
    assert found.recipient == PLAIN
    found.save()
    assert raw(stored) != before  # sealed anew, with a nonce of its own
    assert Notification.objects.get().recipient == PLAIN


def test_values_give_ciphertext_that_the_field_opens(stored):
    row = Notification.objects.values("pk", "recipient").get()
    assert isinstance(row["recipient"], Sealed)
    assert Notification._meta.get_field("recipient").open(row["recipient"], row["pk"]) == PLAIN
    (sealed,) = Notification.objects.values_list("personalisation", flat=True)
    assert Notification._meta.get_field("personalisation").open(sealed, stored.pk) == VALUES


def test_refresh_reads_what_somebody_else_wrote(stored):
    mine = Notification.objects.get()
    assert mine.recipient == PLAIN
    other = Notification.objects.get()
    other.recipient = "+447700900999"
    other.save(update_fields=["recipient"])
    assert mine.recipient == PLAIN
    mine.refresh_from_db()
    assert mine.recipient == "+447700900999"
    mine.refresh_from_db(fields=["recipient"])
    assert mine.recipient == "+447700900999"


def test_save_with_update_fields_writes_only_those(stored):
    before = raw(stored)
    found = Notification.objects.get()
    found.recipient, found.personalisation = "changed", {"name": "changed"}
    found.save(update_fields=["personalisation"])
    assert raw(stored) == before
    again = Notification.objects.get()
    assert (again.recipient, again.personalisation) == (PLAIN, {"name": "changed"})


def test_a_column_that_was_deferred_can_be_named_in_update_fields(stored):
    Notification.objects.defer("recipient").get().save(update_fields=["recipient"])
    assert Notification.objects.get().recipient == PLAIN


def test_a_value_is_changed_in_place_by_saving_it(stored):
    found = Notification.objects.get()
    found.personalisation["name"] = "Ada"
    found.save()
    assert Notification.objects.get().personalisation["name"] == "Ada"


def test_many_rows_are_sealed_one_by_one(db):
    template = testing.make_template()
    rows = [
        Notification(
            service=template.service, template=template, template_version=1, notification_type="sms", recipient=str(n)
        )
        for n in range(3)
    ]
    Notification.objects.bulk_create(rows)
    assert sorted(row.recipient for row in Notification.objects.all()) == ["0", "1", "2"]
    assert {str(row.personalisation) for row in Notification.objects.all()} == {"{}"}


def test_defaults_are_plain_and_not_shared_between_rows():
    first, second = Notification(), Notification()
    assert (first.recipient, first.personalisation) == ("", {})
    first.personalisation["name"] = "Ada"
    assert second.personalisation == {}


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: rows.update(recipient="+447700900999"),
        lambda rows: rows.bulk_update(list(rows), ["recipient"]),
    ],
    ids=["update", "bulk_update"],
)
def test_a_write_that_does_not_know_its_row_is_refused(stored, write):
    """Without a row there is nothing to seal to; the plain text must not reach the table by another way."""
    for row in Notification.objects.all():
        assert row.recipient
    with pytest.raises(TypeError), transaction.atomic():
        write(Notification.objects.all())
    assert Notification.objects.get().recipient == PLAIN


def test_ciphertext_copied_to_another_row_is_refused(stored):
    other = testing.make_notification(recipient="+447700900999", template=stored.template)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notify_notification SET recipient = %s WHERE id = %s", [raw(stored), other.pk])
    other.refresh_from_db(fields=["status"])
    with pytest.raises(crypto.Unreadable):
        _ = Notification.objects.get(pk=other.pk).recipient
    assert Notification.objects.get(pk=stored.pk).recipient == PLAIN


def test_ciphertext_copied_to_another_column_is_refused(stored):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notify_notification SET personalisation = recipient")
    with pytest.raises(crypto.Unreadable):
        _ = Notification.objects.get().personalisation


def test_an_unreadable_column_does_not_stop_the_others(stored):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notify_notification SET recipient = 'rubbish'")
    found = Notification.objects.get()
    assert found.personalisation == VALUES
    found.client_reference = "still saved"
    found.save()
    assert Notification.objects.get().client_reference == "still saved"


def test_rows_written_with_an_old_key_are_read_and_moved_to_the_new_one(stored, settings):
    old = settings.ENCRYPTION_KEYS
    new = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [new, *old]
    found = Notification.objects.get()
    assert found.recipient == PLAIN
    found.save(update_fields=["recipient"])
    settings.ENCRYPTION_KEYS = [new]
    assert Notification.objects.get().recipient == PLAIN
    with pytest.raises(crypto.Unreadable):
        _ = Notification.objects.get().personalisation


def test_a_row_survives_pickling(stored):
    found = pickle.loads(pickle.dumps(Notification.objects.get()))
    assert (found.recipient, found.personalisation) == (PLAIN, VALUES)


def test_migrations_are_told_how_a_field_was_made():
    field = Notification._meta.get_field("personalisation")
    _, path, args, kwargs = field.deconstruct()
    assert path == "notify.fields.SealedField"
    again = SealedField(*args, **kwargs)
    assert (again.json, again.get_default(), again.editable) == (True, {}, False)
    assert "json" not in Notification._meta.get_field("recipient").deconstruct()[3]


def test_sealed_columns_are_not_dumped_as_plain_text(stored):
    try:
        text = serializers.serialize("json", Notification.objects.all())
    except TypeError:
        return
    assert PLAIN not in text
