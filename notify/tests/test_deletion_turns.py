"""Deletion works for a while at a time and goes on at its next turn; who is told when it does not come through."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from notify import deletion, tasks
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_job, make_letter, make_notification, make_template

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 24, tzinfo=UTC)  # what is older goes
OLD = MIDNIGHT - timedelta(hours=1)
pytestmark = pytest.mark.django_db


def old(**fields):
    return make_notification(**({"status": "delivered", "created_at": OLD} | fields))


def run(now=NOW):
    return deletion.delete_past_retention(now=now)


@pytest.fixture
def until_left(monkeypatch, settings):
    """Let time be up as soon as no more than so many messages are left."""

    def limit(left):
        settings.LOOP_FOR = timedelta(0)
        monkeypatch.setattr(deletion, "_over", lambda until: Notification.objects.count() <= left)

    monkeypatch.setattr(deletion, "BATCH", 1)
    return limit


def test_when_time_is_up_it_stops_between_batches_and_goes_on_at_the_next_turn(until_left):
    template = make_template()
    for _ in range(3):
        old(template=template)
    until_left(2)
    assert run() == {"deleted": 1, "callbacks": 0, "unfinished": 1}
    until_left(-1)
    assert run()["deleted"] == 2


def test_a_run_that_got_nothing_done_does_not_ask_for_another(until_left):
    old()
    until_left(1)
    assert run() == {"deleted": 0, "callbacks": 0, "unfinished": 0}


def test_the_task_puts_itself_behind_what_waits_in_the_queue(
    until_left, django_capture_on_commit_callbacks, monkeypatch, settings
):
    template, sent = make_template(), []
    task = tasks.delete_notifications_older_than_retention
    monkeypatch.setattr(task, "apply_async", lambda *args, **rest: sent.append(args))
    for age in range(2):
        old(template=template, created_at=NOW - timedelta(days=40 + age))
    until_left(1)
    with django_capture_on_commit_callbacks(execute=True):
        task()
    assert (len(sent), Notification.objects.count()) == (1, 1)
    until_left(-1)
    settings.LOOP_FOR = timedelta(seconds=50)
    with django_capture_on_commit_callbacks(execute=True):
        task()
    assert (len(sent), Notification.objects.count()) == (1, 0)


def test_the_channels_of_all_services_come_before_letters_and_what_failed_comes_last():
    first, second = sorted((make_template().service_id for _ in range(2)), key=str)
    assert [place[:2] for place in deletion._kept_days({f"service {first}, sms"})] == [
        (second, "sms"), (first, "email"), (second, "email"), (first, "letter"), (second, "letter"), (first, "sms"),
    ]  # fmt: skip


def test_letters_go_in_small_batches(django_assert_max_num_queries, monkeypatch):
    monkeypatch.setattr(deletion, "BATCH_WITH_FILES", 1)
    for _ in range(2):
        make_letter(status="delivered", created_at=OLD)
    deleted = []
    ask = deletion.floors.ask
    monkeypatch.setattr(
        deletion.floors, "ask", lambda name, keys, **rest: (deleted.append((name, len(keys))), ask(name, keys, **rest))
    )
    assert run()["deleted"] == 2
    assert [place for place in deleted if place[1]] == [("retention_files", 1), ("retention", 1)] * 2


@pytest.mark.parametrize(("days", "told"), [(3, False), (4, True)])
def test_what_is_behind_for_whole_days_is_told_until_it_has_caught_up(until_left, days, told):
    made = old(created_at=MIDNIGHT - timedelta(days=days - 1, hours=1))
    until_left(1)
    run()
    assert [(one.kind, one.scope) for one in Alert.objects.open()] == (
        [("retention-behind", f"service {made.service_id}, sms")] if told else []
    )
    until_left(-1)
    run()
    assert not Notification.objects.exists()
    assert not Alert.objects.open().exists()


def test_messages_of_a_job_that_is_not_archived_are_not_behind():
    old(job=make_job(rows=1), created_at=NOW - timedelta(days=60))
    assert run()["deleted"] == 0
    assert not Alert.objects.exists()


def test_a_floor_that_fails_with_its_own_rows_is_told_and_stops_no_other(monkeypatch):
    ended = NOW - timedelta(days=31)
    callback = Callback.objects.create(
        endpoint=make_endpoint(), notification_id=old().pk, notification_status="delivered", payload=b"",
        status="delivered", due_at=ended, delivered_at=ended,
    )  # fmt: skip
    having = deletion.floors.having("retention")

    def broken(keys, **rest):
        if not keys:
            raise OSError
        return 0

    monkeypatch.setattr(deletion.floors, "having", lambda name: {"providers": broken} | having | {"providers": broken})
    assert run() == {"deleted": 1, "callbacks": 1, "unfinished": 0}
    assert not Callback.objects.filter(pk=callback.pk).exists()
    assert Alert.objects.get().scope == "rows of providers"
    monkeypatch.undo()
    run(NOW + timedelta(days=1))
    assert not Alert.objects.open().exists()
