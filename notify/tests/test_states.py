"""What a move writes, what holds it back, and what two callers at once do (the tables: test_state_tables.py)."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from notify import testing
from notify.models import Notification
from notify.states import Move
from notify.tests.test_state_tables import make
from notify.tests.together import together

NOW = datetime(2027, 3, 28, 1, 30, tzinfo=UTC)  # the day the clocks go forward
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("status", ["pending-virus-check", "lost", ""])
def test_move_to_raises_where_nothing_may_become_the_status(db, status):
    with pytest.raises(ValueError, match="Notification: nothing may move to"):
        Notification.objects.move_to(status, now=NOW)


def test_a_status_moves_to_itself_only_where_the_table_says_so(db):
    sending = testing.make_notification(status="sending")
    pending = testing.make_notification(status="cancelled")
    moves = [Move(sending.pk, "sending", {"attempts": 7}), Move(pending.pk, "cancelled", {"attempts": 7})]
    assert Notification.objects.move_each(moves, now=NOW) == {sending.pk: "sending"}
    assert dict(Notification.objects.values_list("pk", "attempts")) == {sending.pk: 7, pending.pk: 0}


def test_each_row_gets_its_own_status_and_fields(db):
    rows = [testing.make_notification() for _ in range(3)]
    moves = [
        Move(rows[0].pk, "sending", {"sent_at": NOW, "status_reason": "a 'quoted' \\ reason, {braces}\nand lines"}),
        Move(rows[1].pk, "technical-failure", {"sent_at": None, "status_reason": ""}),
        Move(rows[2].pk, "cancelled", {"due_at": None}),  # other columns: a statement of its own
    ]
    assert Notification.objects.move_each(moves, now=NOW) == {row.pk: "created" for row in rows}
    found = {row.pk: row for row in Notification.objects.all()}
    assert [found[row.pk].status for row in rows] == ["sending", "technical-failure", "cancelled"]
    assert (found[rows[0].pk].sent_at, found[rows[1].pk].sent_at) == (NOW, None)
    assert found[rows[0].pk].status_reason == "a 'quoted' \\ reason, {braces}\nand lines"
    assert found[rows[2].pk].due_at is None
    assert found[rows[1].pk].due_at == rows[1].due_at


def test_move_to_writes_the_fields_it_is_given(db):
    job = make("jobs.Job", status="pending")
    assert type(job).objects.filter(pk=job.pk).move_to("error", now=NOW, progressed_at=NOW, status_reason="gone") == 1
    job.refresh_from_db()
    assert (job.status, job.progressed_at, job.status_reason) == ("error", NOW, "gone")


def test_updated_at_is_the_moment_given_and_only_for_rows_that_moved(db):
    moved, left = testing.make_notification(), testing.make_notification(status="cancelled")
    Notification.objects.move_each([Move(moved.pk, "sending"), Move(left.pk, "sending")], now=NOW)
    assert dict(Notification.objects.values_list("pk", "updated_at")) == {moved.pk: NOW, left.pk: None}
    Notification.objects.filter(pk=moved.pk).move_to("delivered", now=NOW + SECOND)
    assert Notification.objects.get(pk=moved.pk).updated_at == NOW + SECOND


def test_a_model_without_updated_at_moves_all_the_same(db):
    callback = make("callbacks.Callback")
    moves = [Move(callback.pk, "delivered", {"delivered_at": NOW})]
    assert type(callback).objects.move_each(moves, now=NOW) == {callback.pk: "pending"}


@pytest.mark.parametrize(
    ("token", "moves"),
    [
        ({"claimed_at": NOW, "attempts": 2}, True),
        ({"claimed_at": NOW, "attempts": 1}, False),
        ({"claimed_at": NOW + SECOND, "attempts": 2}, False),
        ({"claimed_at": None}, False),
        ({"provider_name": "", "attempts": 2}, True),
        ({"sent_at": None}, True),
        ({"sent_at": NOW}, False),
        ({}, True),
    ],
)
def test_a_row_whose_token_changed_stays_as_it_is(db, token, moves):
    row = testing.make_notification(claimed_at=NOW, attempts=2)
    moved = Notification.objects.move_each([Move(row.pk, "sending", {"claimed_at": None}, token)], now=NOW)
    row.refresh_from_db()
    assert (moved, row.status, row.claimed_at) == (
        ({row.pk: "created"}, "sending", None) if moves else ({}, "created", NOW)
    )


def test_the_same_move_twice_moves_once(db):
    row = testing.make_notification(claimed_at=NOW, attempts=1)
    move = Move(row.pk, "sending", {"claimed_at": None}, {"claimed_at": NOW, "attempts": 1})
    assert Notification.objects.move_each([move], now=NOW) == {row.pk: "created"}
    assert Notification.objects.move_each([move], now=NOW + SECOND) == {}
    assert Notification.objects.get(pk=row.pk).updated_at == NOW


def test_no_moves_and_unknown_keys_move_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert Notification.objects.move_each([], now=NOW) == {}
    gone = testing.make_notification()
    Notification.objects.filter(pk=gone.pk).delete()
    assert Notification.objects.move_each([Move(gone.pk, "sending")], now=NOW) == {}


def test_a_key_that_is_named_twice_is_refused(db):
    row = testing.make_notification()
    with pytest.raises(ValueError, match="twice"):
        Notification.objects.move_each([Move(row.pk, "sending"), Move(row.pk, "cancelled")], now=NOW)
    assert Notification.objects.get(pk=row.pk).status == "created"


def test_rows_are_locked_in_key_order_before_they_are_written(db, django_assert_num_queries):
    row, other = testing.make_notification(), testing.make_notification()
    with django_assert_num_queries(1) as queries:
        Notification.objects.move_each([Move(row.pk, "sending")], now=NOW)
    assert " ORDER BY v.key FOR UPDATE OF n) UPDATE " in queries[0]["sql"]
    with django_assert_num_queries(3) as queries:  # of two kinds of moves, all rows before the first is written
        moves = [Move(row.pk, "delivered"), Move(other.pk, "sending", {"attempts": 1})]
        Notification.objects.move_each(moves, now=NOW)
    assert re.search(r"^SELECT v\.\* .* ORDER BY v.key FOR UPDATE OF n$", queries[0]["sql"])


def test_five_hundred_rows_take_one_statement(db, django_assert_num_queries):
    template = testing.make_template()
    keys = [testing.make_notification(template=template).pk for _ in range(500)]
    with django_assert_num_queries(1):
        assert len(Notification.objects.move_each([Move(key, "sending") for key in keys], now=NOW)) == 500


def test_the_token_is_no_reason_to_read_the_table_for_one_row(db):
    # Where hardly a row is claimed the planner expects one, reads the table for it, and meets it with every key.
    template, statements = testing.make_template(), []
    keys = [testing.make_notification(template=template, claimed_at=NOW, attempts=1).pk for _ in range(10)]

    def kept(execute, *statement):
        statements.append(statement[:2])
        return execute(*statement)

    token = {"claimed_at": NOW, "attempts": 1}
    with connection.execute_wrapper(kept):
        Notification.objects.move_each([Move(key, "sending", {}, token) for key in keys], now=NOW)
    [(sql, parameters)] = statements
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        plan = [line for (line,) in cursor.fetchall()]
    of_table = [step for step, line in enumerate(plan) if " on notify_notification n" in line and "Scan" in line]
    assert len(of_table) == 2  # to lock, to write
    assert not [plan[step + 1] for step in of_table if "claimed_at" in plan[step + 1]]


def test_in_status_takes_several(db):
    rows = {status: testing.make_notification(status=status) for status in ("created", "sent", "delivered")}
    found = set(Notification.objects.in_status("sent", "delivered"))
    assert found == {rows["sent"], rows["delivered"]}
    assert not Notification.objects.in_status()


@pytest.mark.django_db(transaction=True)
def test_two_callers_with_overlapping_rows_in_opposite_order_never_block_each_other():
    template = testing.make_template()
    keys = [testing.make_notification(template=template, status="sending").pk for _ in range(300)]
    for turn in range(5):
        now = NOW + turn * SECOND

        def forward(now=now):
            return Notification.objects.move_each(
                [Move(key, "sending", {"attempts": 1}) for key in keys[:200]], now=now
            )

        def backward(now=now):
            moves = [Move(key, "sending", {"attempts": 2}) for key in reversed(keys[100:])]
            return Notification.objects.move_each(moves, now=now)

        first, second = together(forward, backward)
        assert (len(first), len(second)) == (200, 200)


@pytest.mark.django_db(transaction=True)
def test_of_two_callers_with_the_same_token_one_moves_each_row():
    template = testing.make_template()
    rows = [testing.make_notification(template=template, claimed_at=NOW, attempts=1).pk for _ in range(50)]

    def finish():
        token = {"claimed_at": NOW, "attempts": 1}
        return Notification.objects.move_each(
            [Move(pk, "sending", {"claimed_at": None}, token) for pk in rows], now=NOW
        )

    first, second = together(finish, finish)
    assert set(first) | set(second) == set(rows)
    assert not set(first) & set(second)


@pytest.mark.django_db(transaction=True)
def test_two_claims_share_nothing():
    template = testing.make_template()
    keys = {testing.make_notification(template=template).pk for _ in range(20)}

    def claim():
        with transaction.atomic():
            mine = Notification.objects.filter(status="created").order_by("pk").claim(15)
            Notification.objects.filter(pk__in=mine).move_to("sending", now=NOW)
            return mine

    first, second = together(claim, lambda: claim())
    waiting = Notification.objects.filter(status="created").count()
    assert not set(first) & set(second)
    assert set(first) | set(second) <= keys
    assert waiting == 20 - len(first) - len(second)
