"""Commands in a hostile terminal: no traceback, a clear line, the documented exit status."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

COMMANDS = [
    ["check_invariants"],
    ["sync_schedule"],
    ["run_watchdog", "jobs.check_job_status"],
    ["run_watchdog", "providers.send_due_notifications"],
    ["backtest_policy"],
]
REFUSED = [
    (["run_watchdog", "nonsense"], 2, "No watchdog"),
    (["run_watchdog"], 2, "NAME"),
    (["process_missing_rows", "12"], 2, "no job id"),
    (["process_missing_rows", "018f3c1e-0000-7000-8000-000000000000"], 2, "There is no job"),
    (["sync_schedule", "--reset", "nonsense"], 2, "No default schedule"),
    (["backtest_policy", "--threshold", "10%"], 2, "THRESHOLD_RANGE"),
    (["backtest_policy", "--days"], 2, "--days"),
    (["send_one", "Nobody", "07700900123"], 2, "No template"),
    (["create_job", "--service", "Nobody", "--template", "x", "/nowhere.csv"], 2, ""),
]


@pytest.fixture
def command(transactional_db):
    """Start a command against this test's database."""
    connection.ensure_connection()
    info = connection.connection.info
    where = f":{info.port}/{info.host}" if info.host.startswith("/") else f"{info.host}:{info.port}"
    url = f"postgres://{info.user}:{info.password or ''}@{where}/{connection.settings_dict['NAME']}"

    def start(arguments, **environment):
        own = os.environ | {"DATABASE_URL": url, "NOTIFY_VAR_DIR": str(settings.VAR_DIR), **environment}
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env=own, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_output_is_whole_in_a_narrow_terminal_without_utf8(command, arguments):
    wide = command(arguments)
    narrow = command(arguments, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="", COLUMNS="20")
    usual, _ = wide.communicate(timeout=60)
    out, errors = narrow.communicate(timeout=60)
    assert narrow.returncode == 0, errors
    assert "Traceback" not in errors
    assert len(out.splitlines()) == len(usual.splitlines())


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_goes_away_causes_no_traceback(command, arguments):
    child = command(arguments)
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=60) in (0, 1, 120)
    assert "Traceback" not in errors, errors


@pytest.mark.parametrize(("arguments", "status", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_wrong_usage_is_refused_with_two_and_no_traceback(command, arguments, status, words):
    child = command(arguments)
    out, errors = child.communicate(timeout=60)
    assert (child.returncode, words in errors) == (status, True), errors
    assert "Traceback" not in errors + out


def test_without_a_broker_a_loop_is_not_enqueued_and_the_command_says_so(command):
    child = command(
        ["run_watchdog", "providers.send_due_notifications", "--apply"], CELERY_BROKER_URL="amqp://127.0.0.1:9//"
    )
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert "not sent" in out
