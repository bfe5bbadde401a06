"""Totals on their way to the performance platform: a real receiver on this machine."""

import json
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from notify import performance_platform
from notify.models import Alert, DailyTotal
from notify.testing import make_service

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def platform(settings):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            server.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(server.answer)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.answer = [], 200
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings.PERFORMANCE_PLATFORM_URL = f"http://127.0.0.1:{server.server_port}/"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def total(day, **fields):
    values = {"service": make_service(), "notification_type": "sms", "counts": {"sent": 3, "cancelled": 1}}
    return DailyTotal.objects.create(day=day, **(values | fields))


def test_without_a_platform_nothing_is_pushed():
    total(date(2026, 11, 23))
    assert performance_platform.push(now=NOW) == 0
    assert DailyTotal.objects.get().pushed_at is None


def test_one_record_per_day_and_channel_once_and_the_same_id_after_a_change(platform):
    total(date(2026, 11, 23), sent_within_ten_seconds=3)
    total(date(2026, 11, 23))
    assert performance_platform.push(now=NOW) == 1
    assert performance_platform.push(now=NOW) == 0
    DailyTotal.objects.update(pushed_at=None)
    performance_platform.push(now=NOW)
    first, second = platform.seen
    assert (first["count"], first["sent_within_ten_seconds_share"], first["channel"]) == (8, 0.5, "sms")
    assert first["_id"] == second["_id"]


def test_when_time_is_up_the_next_run_goes_on(platform, settings):
    settings.LOOP_FOR = timedelta(0)
    for age in (2, 1):
        total(NOW.date() - timedelta(days=age))
    assert [performance_platform.push(now=NOW) for _ in range(3)] == [1, 1, 0]
    assert [record["_timestamp"][:10] for record in platform.seen] == ["2026-11-22", "2026-11-23"]


def test_nothing_is_said_of_letters_and_ten_seconds(platform):
    total(date(2026, 11, 23), notification_type="letter")
    performance_platform.push(now=NOW)
    (record,) = platform.seen
    assert record["count"] == 4
    assert (record["sent_within_ten_seconds"], record["sent_within_ten_seconds_share"]) == (None, None)


@pytest.mark.parametrize(("age", "alerts"), [(2, 0), (3, 1)])
def test_a_failure_is_kept_and_alerted_in_the_third_night(platform, age, alerts):
    platform.answer = 503
    total(NOW.date() - timedelta(days=age))
    assert performance_platform.push(now=NOW) == 0
    assert Alert.objects.open().filter(kind="performance-platform-push").count() == alerts
    platform.answer = 200
    assert performance_platform.push(now=NOW) == 1
    assert not Alert.objects.open().exists()
