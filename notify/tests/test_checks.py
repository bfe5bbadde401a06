"""What would fail at three in the morning fails at the start; and a check needs no database."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from django.conf import settings as project

from notify import checks, schedule


def ids(found) -> list[str]:
    return [problem.id for problem in found]


def test_everything_is_in_order_as_shipped():
    assert checks.check_time_zone(None) == checks.check_schedule(None) == checks.check_trusted_targets(None) == []


def test_another_time_zone_is_refused(settings):
    settings.TIME_ZONE = "Europe/London"
    assert ids(checks.check_time_zone(None)) == ["notify.E001"]


def test_naive_times_are_refused(settings):
    settings.USE_TZ = False
    assert ids(checks.check_time_zone(None)) == ["notify.E001"]


def test_a_schedule_that_names_no_task_is_named(monkeypatch):
    rows = (*schedule.ROWS, replace(schedule.ROWS[0], task="jobs.mistyped"))
    monkeypatch.setattr(schedule, "ROWS", rows)
    found = checks.check_schedule(None)
    assert ids(found) == ["notify.E002"]
    assert "jobs.mistyped" in found[0].msg


def test_a_route_to_an_undeclared_queue_is_named(monkeypatch):
    monkeypatch.setattr(schedule, "QUEUES", tuple(name for name in schedule.QUEUES if name != "letters"))
    found = checks.check_schedule(None)
    assert ids(found) == ["notify.E003"]
    assert "letters" in found[0].msg


def test_callbacks_that_may_reach_inside_are_warned_of_in_production_only(settings):
    settings.CALLBACK_TRUSTED_TARGETS = ["127.0.0.1:9999"]
    settings.PRODUCTION = False
    assert checks.check_trusted_targets(None) == []
    settings.PRODUCTION = True
    assert ids(checks.check_trusted_targets(None)) == ["notify.W001"]


@pytest.mark.parametrize(
    ("emails", "url", "found"),
    [
        ([], "", []),
        (["ops@example.org"], "https://hooks.example.org/secret", []),
        (["ops@example.org", "duty"], "", ["notify.E010"]),
        ([], "hooks.example.org/secret", ["notify.E011"]),
        ([], "file:///etc/passwd", ["notify.E011"]),
        ([], "https:///secret", ["notify.E011"]),
    ],
)
def test_addresses_of_alerts_that_can_never_work_are_named(settings, emails, url, found):
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = emails, url
    problems = checks.check_alert_addresses(None)
    assert ids(problems) == found
    assert "secret" not in str(problems)


def test_in_production_somebody_must_hear_of_alerts(settings):
    settings.PRODUCTION, settings.ALERTS_ENABLED = True, True
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = [], ""
    assert ids(checks.check_somebody_is_told(None)) == ["notify.W010"]
    settings.ALERT_EMAILS = ["ops@example.org"]
    assert checks.check_somebody_is_told(None) == []
    settings.ALERTS_ENABLED = False
    assert ids(checks.check_somebody_is_told(None)) == ["notify.W010"]
    settings.PRODUCTION = False
    assert checks.check_somebody_is_told(None) == []


HEAVY = {"boto3", "botocore", "matplotlib", "paramiko", "pikepdf", "PIL", "aiosmtpd", "pytest"}  # over 50 ms each
CHECK = f"""
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "check"])
print("loaded:", *sorted({HEAVY} & set(sys.modules)))
"""


def test_manage_check_loads_nothing_heavy_and_starts_no_database_server(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"NOTIFY_VAR_DIR": str(tmp_path / "var"), "DJANGO_SETTINGS_MODULE": "notify.settings"}
    command = [sys.executable, "-W", "error", "-c", CHECK]
    ended = subprocess.run(
        command, cwd=project.BASE_DIR, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["System check identified no issues (0 silenced).", "loaded:"]
    made = {path.name for path in (tmp_path / "var").iterdir()}
    assert not [name for name in made if name.startswith("postgres")]
