"""Conditions on messages and alerts, each with its edges."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from notify import testing
from notify.models import Alert, Notification
from notify.tests.together import together

NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BOTH = ("sms", "email")


def labels(rows: dict, found) -> list[str]:
    """Return the labels of the rows that were found, in the order of the table."""
    keys = {row.pk for row in found}
    return [label for label, row in rows.items() if row.pk in keys]


def test_due_is_created_of_a_channel_the_loop_sends_and_its_moment_has_come(db):
    make = testing.make_notification
    off = testing.make_service(active=False)
    rows = {
        "a second ago": make(due_at=NOW - SECOND),
        "exactly now": make(due_at=NOW),
        "in a second": make(due_at=NOW + SECOND),
        "held": make(due_at=None),
        "email": make(due_at=NOW, notification_type="email"),
        "letter": make(due_at=NOW, notification_type="letter"),
        "sending": make(due_at=NOW, status="sending"),
        "service off": make(due_at=NOW, service=off),
        "lapsed lease": make(due_at=NOW, claimed_at=NOW - SECOND),
        "lease running": make(due_at=NOW + SECOND, claimed_at=NOW - SECOND),
    }
    assert labels(rows, Notification.objects.due(NOW)) == ["a second ago", "exactly now", "email", "lapsed lease"]
    assert labels(rows, Notification.objects.lapsed(NOW)) == ["lapsed lease"]
    assert Notification.objects.due(NOW).first() == rows["a second ago"]


def test_held_for_a_person_means_nobody_knows_what_became_of_it(db):
    make = testing.make_notification
    rows = {
        "held": make(due_at=None, unknown_outcomes=1),
        "waits once more": make(due_at=NOW, unknown_outcomes=1),
        "never sent": make(due_at=None),
        "settled by a receipt": make(due_at=None, unknown_outcomes=1, status="delivered"),
    }
    assert labels(rows, Notification.objects.held_for_person()) == ["held"]


def test_not_final_leaves_out_every_final_status(db):
    rows = {status: testing.make_notification(status=status) for status in Notification.Status.values}
    assert labels(rows, Notification.objects.not_final()) == ["created", "sending", "pending", "pending-virus-check"]


def test_a_message_is_found_by_id_reference_or_recipient(db):
    wanted = testing.make_notification(recipient="+447700900123", client_reference="order 7", provider_reference="abc")
    testing.make_notification(recipient="+447700900124")
    texts = (str(wanted.pk), f"  {str(wanted.pk).upper()} ", wanted.pk.hex, "order 7", "abc", "+447700900123")
    assert [list(Notification.objects.found_by(text)) for text in texts] == [[wanted]] * len(texts)
    for text in ("7", "order", "07700900123", str(uuid.uuid4()), "' OR 1=1 --", "\u2028"):
        assert not Notification.objects.found_by(text)


@pytest.mark.parametrize("text", ["", "   "])
def test_searching_for_nothing_does_not_find_everything(db, text):
    testing.make_notification()  # has neither reference
    assert not Notification.objects.found_by(text)


def claim(limit: int, types=BOTH) -> list:
    with transaction.atomic():
        return list(map(uuid.UUID, Notification.objects.lock_fairly(now=NOW, limit=limit, types=types)))


def test_a_backlog_does_not_delay_another_services_few(db):
    big, small = testing.make_template(), testing.make_template()
    for number in range(60):
        testing.make_notification(template=big, due_at=NOW - timedelta(hours=2) + number * SECOND)
    few = [testing.make_notification(template=small, due_at=NOW - SECOND).pk for _ in range(3)]
    keys = claim(30)
    assert len(keys) == len(set(keys)) == 30
    assert set(few) <= set(keys)


def test_many_backlogs_do_not_delay_another_services_few(db):
    for _ in range(15):
        template = testing.make_template()
        for number in range(4):
            testing.make_notification(template=template, due_at=NOW - timedelta(hours=2) + number * SECOND)
    few = testing.make_notification(due_at=NOW)
    assert few.pk in claim(20)


def test_waiting_services_share_a_claim_alike_in_one_pass(db, django_assert_num_queries):
    mine = []
    for _ in range(3):
        template = testing.make_template()
        mine.append({testing.make_notification(template=template, due_at=NOW).pk for _ in range(6)})
    with django_assert_num_queries(3):  # with the savepoint's two
        keys = set(claim(12))
    assert [len(keys & each) for each in mine] == [4, 4, 4]


def test_what_few_services_leave_is_filled_up(db):
    template = testing.make_template()
    rows = [testing.make_notification(template=template, due_at=NOW - number * SECOND).pk for number in range(20)]
    assert set(claim(15)) == set(rows[5:])  # the oldest
    assert set(claim(20)) == set(claim(100)) == set(rows)
    assert len(claim(1)) == 1


def test_only_due_unclaimed_rows_of_the_asked_types_and_active_services_are_locked(db):
    make = testing.make_notification
    rows = {
        "due": make(due_at=NOW),
        "email": make(due_at=NOW, notification_type="email"),
        "in a second": make(due_at=NOW + SECOND),
        "held": make(due_at=None),
        "claimed": make(due_at=NOW, claimed_at=NOW - SECOND),
        "service off": make(due_at=NOW, service=testing.make_service(active=False)),
        "sending": make(due_at=NOW, status="sending"),
    }

    def found(types):
        return labels(rows, Notification.objects.filter(pk__in=claim(10, types)))

    assert found(BOTH) == ["due", "email"]
    assert found(["sms"]) == ["due"]
    assert found([]) == []
    assert claim(0) == []


def test_nothing_waiting_gives_nothing(db):
    assert claim(10) == []
    assert Notification.objects.next_due(before=NOW, types=BOTH) is None


def test_next_due_is_the_first_moment_before_the_edge(db):
    testing.make_notification(due_at=NOW + SECOND)
    assert Notification.objects.next_due(before=NOW, types=BOTH) is None
    assert Notification.objects.next_due(before=NOW + SECOND, types=BOTH) == NOW + SECOND
    assert Notification.objects.next_due(before=NOW + SECOND, types=["email"]) is None
    testing.make_notification(due_at=NOW - SECOND)
    assert Notification.objects.next_due(before=NOW + SECOND, types=BOTH) == NOW - SECOND


@pytest.mark.django_db(transaction=True)
def test_two_workers_lock_different_rows():
    templates = [testing.make_template(), testing.make_template()]
    for number in range(40):
        testing.make_notification(template=templates[number % 2], due_at=NOW - number * SECOND)

    def take():
        with transaction.atomic():
            keys = list(Notification.objects.lock_fairly(now=NOW, limit=20, types=BOTH))
            Notification.objects.filter(pk__in=keys).update(claimed_at=NOW)
            return keys

    first, second = together(take, take)
    assert not set(first) & set(second)
    assert Notification.objects.filter(claimed_at__isnull=False).count() == len(first) + len(second)


def test_open_alerts_are_those_not_resolved_newest_first(db):
    def alert(scope, **fields):
        return Alert.objects.create(kind="a", scope=scope, message="", **fields)

    older, newer = alert("1", last_seen_at=NOW), alert("2", last_seen_at=NOW + SECOND, acknowledged_at=NOW)
    alert("3", resolved_at=NOW)
    assert list(Alert.objects.open()) == [newer, older]
