"""COPY cells to the letter, and inserts that can be repeated."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from django.db import DataError, connection, transaction

from notify import bulk, testing
from notify.fields import new_id
from notify.models import Alert, Service
from notify.tests.together import together

NOW = datetime(2026, 11, 24, 9, 30, 0, 123456, tzinfo=UTC)
COLUMNS = ("id", "kind", "scope", "message", "times_seen", "first_seen_at", "last_seen_at")


def row(scope: str, message: str = "", key: UUID | None = None) -> tuple:
    return (key or new_id(), "test", scope, message, 1, NOW, NOW)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\\N"),
        ("", ""),
        ("\\N", "\\\\N"),
        ("a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"),
        ("é – 👍", "é – 👍"),
        (b"\x00\xff", "\\\\x00ff"),
        (b"", "\\\\x"),
        (NOW, "2026-11-24T09:30:00.123456+00:00"),
        (date(2026, 11, 24), "2026-11-24"),
        (0, "0"),
        (False, "False"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Alert, str(Alert)),
    ],
)
def test_a_cell_is_written_as_copy_reads_it(value, text):
    assert bulk.cell(value) == text


@pytest.mark.parametrize(
    "text", ["", "\\N", "\\.", "a\tb\nc\rd\\e", "\\t", "\x01\x7f\u2028", "é – 👍", "\"quoted\", 'too'"]
)
def test_text_comes_back_as_it_was(db, text):
    bulk.insert_new(Alert, COLUMNS, [row("1", text)])
    assert Alert.objects.get().message == text


def test_bytes_null_and_numbers_come_back_as_they_were(db):
    endpoint = testing.make_endpoint()
    model = endpoint.callbacks.model
    columns = ("id", "endpoint_id", "notification_id", "notification_status", "payload", "status", "attempts",
               "due_at", "created_at", "last_error", "claimed_at")  # fmt: skip
    payload = bytes(range(256))
    values = (new_id(), endpoint.pk, new_id(), "delivered", payload, model.Status.PENDING, 3, NOW, NOW, "", None)
    bulk.insert_new(model, columns, [values])
    stored = model.objects.get()
    assert bytes(stored.payload) == payload
    assert (stored.attempts, stored.due_at, stored.claimed_at, stored.status) == (3, NOW, None, "pending")


def test_booleans_come_back_as_they_were(db):
    columns = [field.attname for field in Service._meta.concrete_fields]
    wanted = {True: testing.make_service(), False: testing.make_service(active=False)}
    rows = [[getattr(service, name) for name in columns] for service in wanted.values()]
    Service.objects.all().delete()
    assert len(bulk.insert_new(Service, columns, rows)) == 2
    assert {service.pk: service.active for service in Service.objects.all()} == {
        service.pk: active for active, service in wanted.items()
    }


def test_rows_that_exist_stay_as_they_are_and_are_not_named(db):
    first = row("one", "old")
    assert bulk.insert_new(Alert, COLUMNS, [first]) == [first[0]]
    again, other = row("one", "new", key=first[0]), row("two")
    assert bulk.insert_new(Alert, COLUMNS, [again, other]) == [other[0]]
    assert Alert.objects.get(pk=first[0]).message == "old"


def test_any_unique_constraint_counts_as_existing(db):
    bulk.insert_new(Alert, COLUMNS, [row("one")])
    assert bulk.insert_new(Alert, COLUMNS, [row("one")]) == []  # another key, the same open kind and scope


def test_a_row_that_comes_twice_in_one_batch_is_inserted_once(db):
    assert len(bulk.insert_new(Alert, COLUMNS, [row("one"), row("one")])) == 1


def test_nothing_to_insert_asks_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert bulk.insert_new(Alert, COLUMNS, []) == []
        assert bulk.insert_lines(Alert, COLUMNS, "") == (0, [])


def test_two_batches_fit_into_one_transaction(db):
    with transaction.atomic():
        bulk.insert_new(Alert, COLUMNS, [row("one")])
        bulk.insert_new(Alert, COLUMNS, [row("two")])
    assert Alert.objects.count() == 2


def test_a_line_that_cannot_be_read_inserts_nothing(db):
    broken = (*row("two")[:5], "yesterday-ish", NOW)
    with pytest.raises(DataError):
        bulk.insert_new(Alert, COLUMNS, [row("one"), broken])
    assert Alert.objects.count() == 0
    assert bulk.insert_new(Alert, COLUMNS, [row("one")])  # and the next batch finds no leftover table


def test_the_staging_table_is_gone_afterwards(db):
    bulk.insert_new(Alert, COLUMNS, [row("one")])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'incoming_%'")
        assert cursor.fetchone()[0] == 0


# --- update_each ------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(db):
    """Three open alerts; their keys in order."""
    bulk.insert_new(Alert, COLUMNS, [row(str(number)) for number in range(3)])
    return list(Alert.objects.order_by("scope").values_list("pk", flat=True))


def test_every_row_gets_its_own_values_in_one_statement(three, django_assert_num_queries):
    written = {"message": ["a\t'b'\n", "", "é"], "snoozed_until": [NOW, None, None], "times_seen": [0, 1, 2]}
    with django_assert_num_queries(1):
        assert bulk.update_each(Alert, three, written, alike={"last_seen_at": NOW}) == dict.fromkeys(three)
    found = {alert.pk: alert for alert in Alert.objects.all()}
    assert [found[key].message for key in three] == written["message"]
    assert [found[key].snoozed_until for key in three] == written["snoozed_until"]
    assert [found[key].times_seen for key in three] == written["times_seen"]
    assert {alert.last_seen_at for alert in found.values()} == {NOW}


def test_a_row_that_no_longer_has_the_checked_value_is_left_alone(three):
    Alert.objects.filter(pk=three[0]).update(snoozed_until=NOW)
    checked = {"snoozed_until": [NOW, NOW, None], "times_seen": [1, 1, 1]}
    moved = bulk.update_each(Alert, three, {"message": ["new"] * 3}, checked=checked)
    assert moved.keys() == {three[0], three[2]}  # NULL is a value like others
    assert set(Alert.objects.filter(message="new").values_list("pk", flat=True)) == moved.keys()


@pytest.mark.parametrize(("stored", "asked", "moves"), [(None, None, True), (NOW, NOW, True), (NOW, None, False),
                                                        (None, NOW, False)])  # fmt: skip
def test_a_checked_value_that_is_the_same_for_all_is_held_against_each_row(three, stored, asked, moves):
    Alert.objects.filter(pk=three[1]).update(snoozed_until=stored)
    kept = [key for key in three if key != three[1]] if asked is None else []
    written = {"message": ["a", "b", "c"]}
    moved = bulk.update_each(Alert, three, written, checked={"snoozed_until": [asked] * 3})
    assert moved.keys() == set(kept) | ({three[1]} if moves else set())


def test_the_value_before_is_returned_and_unknown_keys_are_left_out(three):
    asked = [three[2], new_id(), three[0]]
    moved = bulk.update_each(Alert, asked, {"scope": ["c", "b", "a"]}, before="scope")
    assert moved == {three[2]: "2", three[0]: "0"}


def test_a_further_condition_is_held_against_each_row(three):
    for values, expected in ((["x", "x", "x"], {0, 2}), (["x", "x", "y"], {0})):  # alike, and each its own
        only = ("v.was_scope || v.new_message || n.scope = ANY(%s)", [["0x0", "1y1", "2x2"]])
        moved = bulk.update_each(Alert, three, {"message": values}, only=only, before="scope")
        assert moved == {three[place]: str(place) for place in expected}


@pytest.mark.parametrize("kinds", [["x" * 300] * 3, ["x" * 300, "y", "z"]])
def test_text_that_is_too_long_is_an_error_and_not_cut_off(three, kinds):
    with pytest.raises(DataError), transaction.atomic():
        bulk.update_each(Alert, three, {"kind": kinds})
    assert set(Alert.objects.values_list("kind", flat=True)) == {"test"}


def test_foreign_keys_and_numbered_keys_can_be_written(db):
    endpoints = [testing.make_endpoint(), testing.make_endpoint()]
    model, services = type(endpoints[0]), [testing.make_service().pk, testing.make_service().pk]
    assert bulk.update_each(model, [row.pk for row in endpoints], {"service": services})
    assert [model.objects.get(pk=row.pk).service_id for row in endpoints] == services


def test_updating_nothing_asks_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert bulk.update_each(Alert, [], {"message": []}) == {}


@pytest.mark.django_db(transaction=True)
def test_two_at_once_insert_each_row_once():
    rows = [row(str(number)) for number in range(500)]
    first, second = together(
        lambda: bulk.insert_new(Alert, COLUMNS, rows), lambda: bulk.insert_new(Alert, COLUMNS, list(rows))
    )
    assert len(first) + len(second) == 500
    assert not set(first) & set(second)


@pytest.mark.django_db
def test_keys_as_one_parameter_find_the_same_rows_as_a_list_of_them():
    rows = [testing.make_service() for _ in range(3)]
    for keys in ([rows[0].pk, rows[2].pk], [str(rows[1].pk)], []):
        found = Service.objects.filter(pk__in=bulk.among(keys))
        assert {str(row.pk) for row in found} == set(map(str, keys))
