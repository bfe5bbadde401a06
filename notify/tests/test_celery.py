"""Wake-ups: a broker that is away is counted and not raised, and a loop is woken once, not a thousand times."""

import json
import logging
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from celery import Celery
from celery.exceptions import QueueNotFound
from celery.signals import worker_shutting_down
from django.conf import settings as project
from django.db import transaction
from kombu import Queue

from notify import celery
from notify.celery import Task

APPS = ("jobs", "letters", "providers", "callbacks", "notify")


@pytest.fixture
def broker():
    """An app of the test's own on a broker in memory, with the base class under test."""
    app = Celery("test", task_cls=Task, broker="memory://", set_as_current=False)
    app.conf.task_queues = [Queue("waiting")]
    app.conf.task_default_queue = "waiting"
    app.conf.task_create_missing_queues = False
    with app.connection_for_write() as connection:
        app.amqp.queues["waiting"].bind(connection.default_channel).declare()
        connection.default_channel.queue_purge("waiting")
    yield app
    app.close()


def nothing() -> None:
    """The body of a task."""


def task(app: Celery, name: str):
    return app.task(nothing, name=name, shared=False, lazy=False)


@pytest.fixture
def loop(broker):
    """A task of that app."""
    return task(broker, "test.loop")


def published(app) -> int:
    with app.connection_for_write() as connection:
        return connection.default_channel.queue_declare("waiting", passive=True).message_count


def test_a_broker_that_is_away_is_counted_within_about_a_second_and_not_raised():
    """In a process of its own: the settings of a RabbitMQ broker are what is tested."""
    program = """
import json, logging, time, django
django.setup()
from celery import current_app
from notify.celery import Task
from callbacks.tasks import deliver_due_callbacks as task
answers, seconds = [], []
for publish in (task.apply_async, task.delay):
    started = time.monotonic()
    answers.append(publish())
    seconds.append(time.monotonic() - started)
print(json.dumps([answers, seconds, Task.publish_failures]))
"""
    environment = os.environ | {
        "CELERY_BROKER_URL": "amqp://guest:guest@127.0.0.1:9//",
        "NOTIFY_VAR_DIR": str(project.VAR_DIR),
        "DJANGO_SETTINGS_MODULE": "notify.settings",
    }
    command = [sys.executable, "-W", "error", "-c", program]
    ended = subprocess.run(
        command, cwd=project.BASE_DIR, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answers, seconds, failures = json.loads(ended.stdout)
    assert answers == [None, None]
    assert failures == 2
    assert max(seconds) < 15  # unbounded, it would try again for a hundred seconds and more
    assert "Wake-up callbacks.deliver_due_callbacks not sent" in ended.stderr
    assert "guest" not in ended.stderr


def test_a_misspelt_queue_raises(loop):
    before = Task.publish_failures
    with pytest.raises(QueueNotFound):
        loop.apply_async(queue="wiating")
    assert Task.publish_failures == before


def test_a_nudge_is_sent_after_commit_and_not_before(loop, broker, transactional_db):
    with transaction.atomic():
        loop.nudge()
        transaction.set_rollback(True)
    assert published(broker) == 0
    with transaction.atomic():
        loop.nudge()
        assert published(broker) == 0
    assert published(broker) == 1


@pytest.fixture
def committed(db, django_capture_on_commit_callbacks):
    """Run a block and, as a commit would, what it left to be done afterwards."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def test_a_thousand_nudges_are_one_message(loop, broker, committed):
    with committed():
        for _ in range(1_000):
            loop.nudge()
    assert published(broker) == 1


def test_the_next_nudge_is_sent_once_the_limit_has_passed(loop, broker, settings, committed):
    settings.NUDGE_EVERY = timedelta(0)
    with committed():
        for _ in range(3):
            loop.nudge()
    assert published(broker) == 3


def test_nudges_of_one_loop_do_not_hold_back_anothers(loop, broker, committed):
    other = task(broker, "test.other")
    with committed():
        loop.nudge()
        other.nudge()
    assert published(broker) == 2


def test_a_woken_loop_lingers_for_longer_than_nudges_are_held_back():
    assert project.LOOP_LINGER_FOR > project.NUDGE_EVERY


@pytest.mark.parametrize(
    ("returned", "level"),
    [
        ({"found": 3, "repaired": 0}, logging.INFO),
        ({"found": 0, "repaired": 0}, logging.DEBUG),
        ({}, logging.DEBUG),
        (None, logging.DEBUG),
        ({"created": 3, "name": 1, "message": 1, "args": 1}, logging.INFO),  # names of a log record's own
    ],
)
def test_a_run_that_did_something_leaves_one_line(loop, caplog, returned, level):
    caplog.set_level(logging.DEBUG, logger="notify.celery")
    loop.on_success(returned, "id", (), {})
    (record,) = caplog.records
    assert (record.levelno, record.task, record.counts) == (level, "test.loop", returned or {})
    assert record.getMessage() == f"test.loop: {returned or {}}"


def test_loops_hear_that_the_worker_was_told_to_stop():
    assert not celery.stopping()
    try:
        worker_shutting_down.send(sender=None, sig="SIGTERM", how="Warm", exitcode=0)
        assert celery.stopping()
    finally:
        celery._stopping[0] = 0


def test_every_task_is_named_after_its_app_and_function_and_has_our_base():
    celery.app.autodiscover_tasks(force=True)
    ours = {name: task for name, task in celery.app.tasks.items() if name.split(".")[0] in APPS}
    assert ours
    for name, task in ours.items():
        home = task.run.__module__.split(".")[0]
        assert (name, isinstance(task, Task)) == (f"{home}.{task.run.__name__}", True)
