"""The file broker, with several processes writing and reading at once, and damaged files in between."""

import logging
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError

from notify import file_broker

PROJECT = Path(__file__).resolve().parents[2]
WORK = Queue("work", Exchange("work"), routing_key="work")

PUBLISHER = """
import sys
from pathlib import Path
from notify.tests.test_file_broker import WORK, connected

with connected(Path(sys.argv[1])) as connection:
    producer = connection.Producer()
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        producer.publish(number, exchange=WORK.exchange, routing_key="work", declare=[WORK])
"""

CONSUMER = """
import sys, time
from pathlib import Path
from notify.tests.test_file_broker import WORK, connected

def take(body, message):
    message.ack()
    print(body)

with connected(Path(sys.argv[1])) as connection, connection.Consumer([WORK], callbacks=[take]):
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            connection.drain_events(timeout=1)
    except TimeoutError:
        pass
"""

WORKER = """
import os, sys
from pathlib import Path
from notify.tests.test_file_broker import trial_app

app = trial_app(Path(sys.argv[1]))

@app.task(name="tell")
def tell(number):
    os.write(1, f"{number} ".encode())

app.worker_main(["--quiet", "worker", "--pool=threads", "--without-mingle", "--hostname", sys.argv[2]])
"""


@contextmanager
def connected(folder):
    file_broker.register()
    with Connection("notifyfile://", transport_options=file_broker.transport_options(folder)) as connection:
        yield connection


def trial_app(folder):
    """A Celery app beside the project's own, with the broker in `folder`."""
    file_broker.register()
    app = Celery("trial", broker="notifyfile://", set_as_current=False)
    app.conf.broker_transport_options = file_broker.transport_options(folder)
    app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True, worker_redirect_stdouts=False)
    return app


@pytest.fixture
def connection(tmp_path):
    with connected(tmp_path / "broker") as connection:
        yield connection


def publish(connection, *bodies, queue=WORK):
    for body in bodies:
        connection.Producer().publish(body, exchange=queue.exchange, routing_key=queue.routing_key, declare=[queue])


def take(connection, queue=WORK):
    """Return the bodies of all messages of the queue, in order, acknowledged."""
    bound, found = queue(connection.default_channel), []
    bound.declare()
    while (message := bound.get()) is not None:
        message.ack()
        found.append(message.payload)
    return found


def size(connection, queue):
    return connection.default_channel.queue_declare(queue).message_count


def test_a_burst_from_three_publishers_to_three_consumers_loses_nothing_and_doubles_nothing(tmp_path):
    folder = str(tmp_path / "broker")
    scripts = [[CONSUMER, folder]] * 3
    scripts += [[PUBLISHER, folder, str(first), str(last)] for first, last in ((0, 700), (700, 1400), (1400, 2000))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", *script], cwd=PROJECT, **pipes) for script in scripts
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 6
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * 6
    shares = [[int(number) for number in output.split()] for output in outputs[:3]]
    assert sorted(number for share in shares for number in share) == list(range(2000))
    assert all(shares)
    assert os.listdir(tmp_path / "broker" / "messages") == []


def test_messages_come_first_in_first_out_and_only_from_their_own_queue(connection):
    publish(connection, *range(20))
    publish(connection, "other", queue=Queue("other.work", Exchange("other"), routing_key="other"))
    assert take(connection) == list(range(20))
    assert take(connection) == []


def test_size_and_purge_count_one_queue_and_no_half_written_file(connection, tmp_path):
    channel = connection.default_channel
    publish(connection, 1, 2, 3)
    publish(connection, "other", queue=Queue("other", Exchange("other"), routing_key="other"))
    (tmp_path / "broker" / "messages" / "0_x.work.msg.abc.part").write_text("{")
    assert size(connection, "work") == 3
    assert WORK(channel).purge() == 3
    assert WORK(channel).purge() == 0
    assert size(connection, "work") == 0
    assert len(os.listdir(tmp_path / "broker" / "messages")) == 2


def test_an_unreadable_file_is_dropped_with_one_line_and_the_rest_is_delivered(connection, tmp_path, caplog):
    damaged = {
        "empty": b"",
        "half": b'{"body": "MQ==", "prop',
        "no text": b"\xff\xfe",
        "no message": b"[]",
        "no properties": b'{"body": "MQ=="}',
        "body is no base64": b'{"body": "M", "properties": {"body_encoding": "base64", "delivery_tag": "x"}}',
    }
    publish(connection, "before")
    for label, content in damaged.items():
        (tmp_path / "broker" / "messages" / f"1_{label}.work.msg").write_bytes(content)
    publish(connection, "after")
    with caplog.at_level(logging.WARNING):
        assert take(connection) == ["before", "after"]
    assert len(caplog.records) == len(damaged)
    assert {record.queue for record in caplog.records} == {"work"}
    assert "MQ==" not in caplog.text
    assert os.listdir(tmp_path / "broker" / "messages") == []


def test_damaged_bindings_are_reported_and_written_anew_by_the_next_who_binds(connection, tmp_path, caplog):
    table = tmp_path / "broker" / "control" / "work.exchange"
    connection.connect()
    table.write_text("")
    publish(connection, 1)
    assert len(caplog.records) == 1
    assert take(connection) == [1]
    assert "work" in table.read_text()


def test_a_broadcast_reaches_every_listener_but_none_that_starts_later(connection):
    news = Exchange("news", type="fanout")
    one, two, late = (Queue(name, news) for name in ("one", "two", "late"))
    for queue in (one, two):
        queue(connection.default_channel).declare()
    connection.Producer().publish("of an earlier life", routing_key="late")
    connection.Producer().publish("stop", exchange=news, declare=[news])
    assert size(connection, "late") == 1
    assert [take(connection, queue) for queue in (one, two, late)] == [["stop"], ["stop"], []]


def test_folders_are_made_by_the_first_connection_for_this_user_alone(tmp_path):
    folder = tmp_path / "new" / "broker"
    file_broker.transport_options(folder)
    assert not folder.exists()
    with connected(folder) as connection:
        connection.connect()
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}
    assert sorted(path.name for path in folder.iterdir()) == ["control", "messages"]


def test_connecting_sweeps_out_what_killed_processes_left_an_hour_ago_and_nothing_else(tmp_path):
    with connected(tmp_path) as connection:
        connection.connect()
    names = ["a.work.msg.x.part", "b.me.reply.celery.pidbox.msg", "c.work.msg"]
    for folder, age in (("messages", 3_590), ("messages", 3_610)):
        for name in names:
            path = tmp_path / folder / f"{age}{name}"
            path.write_text("")
            os.utime(path, (time.time() - age,) * 2)
    with connected(tmp_path) as connection:
        connection.connect()
    left = sorted(path.name for path in (tmp_path / "messages").iterdir())
    assert left == sorted([*(f"3590{name}" for name in names), "3610c.work.msg"])


def test_a_broker_that_cannot_be_written_is_a_connection_error(tmp_path):
    (tmp_path / "file").write_text("")
    with connected(tmp_path / "file" / "broker") as connection, pytest.raises(OperationalError):
        connection.ensure_connection(max_retries=1, interval_start=0)


def test_registering_twice_is_harmless():
    file_broker.register()
    file_broker.register()
    assert issubclass(Connection("notifyfile://").get_transport_cls(), file_broker.Transport)


def test_celery_workers_share_the_tasks_and_answer_a_ping(tmp_path):
    app = trial_app(tmp_path / "broker")
    command = [sys.executable, "-c", WORKER, str(tmp_path / "broker")]
    workers = [
        subprocess.Popen([*command, f"{name}@here"], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for name in ("one", "two")
    ]
    try:
        for number in range(50):
            app.send_task("tell", [number])
        give_up_at = time.monotonic() + 120
        with connected(tmp_path / "broker") as connection:
            while len(app.control.inspect(timeout=1, limit=2).ping() or {}) < 2 or size(connection, "celery"):
                assert time.monotonic() < give_up_at
    finally:
        for worker in workers:
            worker.kill()  # a quiet end would take Celery five seconds
        said = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert sorted(int(word) for words in said for word in words if word.isdigit()) == list(range(50))
