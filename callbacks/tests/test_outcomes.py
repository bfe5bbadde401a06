"""A status and the callback it causes: together or not at all, once, and as the row was at that moment."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection

from callbacks import outcomes
from callbacks.models import Callback
from callbacks.payloads import open_payload
from notify import testing
from notify.bulk import cell
from notify.crypto import search_hash
from notify.fields import new_id
from notify.models import Notification
from notify.states import Move
from notify.tests.together import together

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FINAL = sorted(Notification.FINAL)


@pytest.fixture
def endpoint(db):
    return testing.make_endpoint()


@pytest.fixture
def make(endpoint):
    """Make a notification of the service that has the endpoint."""
    template = testing.make_template(endpoint.service)
    return lambda **fields: testing.make_notification(template=template, **fields)


def told() -> list[tuple]:
    return list(Callback.objects.order_by("id").values_list("notification_id", "notification_status"))


def test_the_row_moves_and_its_callback_waits_to_be_delivered_now(endpoint, make):
    row = make()
    assert outcomes.settle([Move(row.pk, "delivered", {"delivered_at": NOW})], now=NOW) == {row.pk: "created"}
    row.refresh_from_db()
    assert (row.status, row.delivered_at, row.updated_at) == ("delivered", NOW, NOW)
    callback = Callback.objects.get()
    assert (callback.endpoint, callback.notification_id, callback.notification_status) == (
        endpoint, row.pk, "delivered",
    )  # fmt: skip
    assert (callback.status, callback.attempts, callback.due_at, callback.created_at) == ("pending", 0, NOW, NOW)
    assert (callback.claimed_at, callback.last_status_code, callback.last_error, callback.delivered_at) == (
        None, None, "", None,
    )  # fmt: skip


@pytest.mark.parametrize("status", FINAL)
def test_every_final_status_is_told(make, status):
    source = next(source for source, targets in Notification.MOVES.items() if status in targets and source != status)
    row = make(status=source)
    outcomes.settle([Move(row.pk, status)], now=NOW)
    assert told() == [(row.pk, status)]


@pytest.mark.parametrize("status", ["created", "sending", "pending"])
def test_a_status_that_is_not_final_is_told_nobody(make, status):
    row = make()
    assert outcomes.settle([Move(row.pk, status)], now=NOW)
    assert told() == []


def test_each_change_between_final_statuses_is_told_once(make):
    row = make(status="sending")
    for status in ("temporary-failure", "temporary-failure", "permanent-failure", "delivered", "delivered"):
        assert outcomes.settle([Move(row.pk, status)], now=NOW)
    assert told() == [(row.pk, "temporary-failure"), (row.pk, "permanent-failure"), (row.pk, "delivered")]


def test_a_repeated_status_is_told_nobody_although_it_never_was(make):
    """The endpoint is younger than the first report of this status."""
    row = make(status="delivered")
    assert outcomes.settle([Move(row.pk, "delivered")], now=NOW) == {row.pk: "delivered"}
    assert told() == []


def test_a_row_that_does_not_move_is_told_nobody(make):
    cancelled, claimed, delivered = make(status="cancelled"), make(claimed_at=NOW), make(status="delivered")
    moves = [
        Move(cancelled.pk, "delivered"),
        Move(claimed.pk, "delivered", {}, {"claimed_at": None}),
        Move(delivered.pk, "temporary-failure"),
        Move(new_id(), "delivered"),
    ]
    assert outcomes.settle(moves, now=NOW) == {}
    assert told() == []


def test_settling_nothing_asks_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert outcomes.settle([], now=NOW) == {}


def test_without_an_active_endpoint_the_row_moves_and_nobody_is_told(db):
    off = testing.make_endpoint(active=False)
    rows = [testing.make_notification(), testing.make_notification(service=off.service)]
    assert len(outcomes.settle([Move(row.pk, "delivered") for row in rows], now=NOW)) == 2
    assert told() == []


def test_of_several_endpoints_the_active_one_of_the_own_service_is_told(endpoint, make):
    testing.make_endpoint(endpoint.service, active=False, url="https://example.org/old")
    other = testing.make_endpoint(url="https://example.org/other")
    mine, theirs = make(), testing.make_notification(service=other.service)
    outcomes.settle([Move(row.pk, "delivered") for row in (mine, theirs)], now=NOW)
    assert dict(Callback.objects.values_list("notification_id", "endpoint")) == {
        mine.pk: endpoint.pk,
        theirs.pk: other.pk,
    }


def refuse_callbacks() -> None:
    """Make the database refuse every new callback until the test ends."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE callbacks_callback ADD CONSTRAINT refused CHECK (false) NOT VALID")


def test_a_callback_that_cannot_be_written_takes_the_move_back(endpoint, make):
    rows = [make(), make()]
    refuse_callbacks()
    with pytest.raises(IntegrityError):
        outcomes.settle([Move(row.pk, "delivered") for row in rows], now=NOW)
    assert set(Notification.objects.values_list("status", "updated_at")) == {("created", None)}
    assert told() == []


def test_a_message_whose_recipient_cannot_be_read_is_told_without_it(make):
    row = make()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notify_notification SET recipient = 'rubbish'")
    outcomes.settle([Move(row.pk, "technical-failure")], now=NOW)
    body = open_payload(Callback.objects.get().payload)["body"]
    assert (body["id"], body["to"], body["status"]) == (str(row.pk), None, "technical-failure")


def test_the_payload_is_of_the_values_after_the_change(make):
    row = make(status="sending", sent_at=NOW - SECOND)
    outcomes.settle([Move(row.pk, "delivered", {"sent_at": NOW})], now=NOW + SECOND)
    body = open_payload(Callback.objects.get().payload)["body"]
    assert (body["status"], body["sent_at"], body["completed_at"]) == (
        "delivered", "2026-10-25T01:30:00.000000Z", "2026-10-25T01:30:01.000000Z",
    )  # fmt: skip


def test_a_stored_payload_does_not_follow_what_changes_later(endpoint, make):
    row = make(client_reference="before")
    outcomes.settle([Move(row.pk, "delivered")], now=NOW)
    before = open_payload(Callback.objects.get().payload)
    endpoint.url, endpoint.bearer_token = "https://example.org/after", "after-after"
    endpoint.save()
    row.refresh_from_db()
    row.client_reference, row.recipient = "after", "+447700900999"
    row.save()
    after = open_payload(Callback.objects.get().payload)
    assert after == before
    assert (after["url"], after["token"]) == ("https://example.org/callbacks", "token-token")
    assert (after["body"]["reference"], after["body"]["to"]) == ("before", "+447700900123")


def test_nothing_of_a_payload_is_readable_in_the_table(make):
    row = make(client_reference="order 7")
    outcomes.settle([Move(row.pk, "delivered")], now=NOW)
    stored = bytes(Callback.objects.get().payload)
    assert not [word for word in (b"7700900123", b"order 7", b"token-token", b"example.org") if word in stored]


def test_more_than_one_chunk_is_settled_whole(make, monkeypatch):
    monkeypatch.setattr(outcomes, "CHUNK", 4)
    for count in (3, 4, 5, 9):
        rows = [make() for _ in range(count)]
        moved = outcomes.settle([Move(row.pk, "delivered") for row in rows], now=NOW)
        assert set(moved) == {row.pk for row in rows}
    assert len(told()) == 3 + 4 + 5 + 9


def test_five_hundred_rows_take_a_handful_of_queries(make, django_assert_max_num_queries):
    moves = [Move(make().pk, "delivered") for _ in range(500)]
    with django_assert_max_num_queries(20):
        assert len(outcomes.settle(moves, now=NOW)) == 500
    assert len(told()) == 500


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_settle_the_same_rows_tell_once():
    endpoint = testing.make_endpoint()
    template = testing.make_template(endpoint.service)
    keys = [testing.make_notification(template=template, status="sending").pk for _ in range(50)]

    def settle(order):
        return outcomes.settle([Move(key, "delivered") for key in order], now=NOW)

    together(lambda: settle(keys), lambda: settle(keys[::-1]))
    assert sorted(told()) == sorted((key, "delivered") for key in keys)


# --- Rows born final --------------------------------------------------------------------------------------------------

COLUMNS = ("id", "service_id", "template_id", "template_version", "notification_type", "recipient", "recipient_hash",
           "personalisation", "client_reference", "status", "status_reason", "provider_name", "provider_reference",
           "attempts", "unknown_outcomes", "created_at")  # fmt: skip


def line(template, key, status: str) -> str:
    recipient, personalisation = (Notification._meta.get_field(name) for name in ("recipient", "personalisation"))
    values = (key, template.service_id, template.pk, 1, "sms", recipient.seal("0770", key), search_hash("0770"),
              personalisation.seal({}, key), "", status, "too short", "", "", 0, 0, NOW)  # fmt: skip
    return "\t".join(map(cell, values)) + "\n"


def test_new_rows_are_inserted_and_those_born_final_are_told(endpoint):
    template = testing.make_template(endpoint.service)
    good, bad = new_id(), new_id()
    lines = [line(template, good, "created"), line(template, bad, "validation-failed")]
    assert outcomes.settle_new(COLUMNS, lines, born_final=[bad], now=NOW) == 2
    assert told() == [(bad, "validation-failed")]
    body = open_payload(Callback.objects.get().payload)["body"]
    assert (body["to"], body["status"], body["sent_at"]) == ("0770", "validation-failed", None)
    assert body["completed_at"] == "2026-10-25T01:30:00.000000Z"  # a row born final is complete when it is made


def test_rows_that_exist_are_left_alone_and_not_told_again(endpoint):
    template = testing.make_template(endpoint.service)
    first, second = new_id(), new_id()
    lines = [line(template, first, "validation-failed")]
    outcomes.settle_new(COLUMNS, lines, born_final=[first], now=NOW)
    both = [*lines, line(template, second, "validation-failed")]
    assert outcomes.settle_new(COLUMNS, both, born_final=[first, second], now=NOW + SECOND) == 1
    assert told() == [(first, "validation-failed"), (second, "validation-failed")]


def test_inserting_nothing_inserts_nothing(db):
    assert outcomes.settle_new(COLUMNS, [], born_final=[], now=NOW) == 0


def test_rows_born_final_whose_callback_cannot_be_written_are_not_inserted(endpoint):
    template, key = testing.make_template(endpoint.service), new_id()
    refuse_callbacks()
    with pytest.raises(IntegrityError):
        outcomes.settle_new(COLUMNS, [line(template, key, "validation-failed")], born_final=[key], now=NOW)
    assert not Notification.objects.exists()
