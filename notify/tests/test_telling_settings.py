"""Where alerts leave: the settings really loaded, in a process of their own, for each word."""

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet
from django.conf import settings

KEYS = {"SECRET_KEY": "s" * 60, "SEARCH_HASH_KEY": "h" * 40, "ENCRYPTION_KEYS": Fernet.generate_key().decode()}
ASK = "import django; django.setup(); from notify import telling; print(telling.why_not() or 'they leave')"


def ask(tmp_path, question: str = ASK, **environment: str) -> subprocess.CompletedProcess:
    """Load the settings in a process of its own and ask."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("ALERT", "NOTIFY_ENV"))}
    own = {"NOTIFY_VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "notify.settings", **KEYS, **environment}
    return subprocess.run(
        [sys.executable, "-c", question], cwd=settings.BASE_DIR, env=inherited | own, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "enabled", "leaves"),
    [
        ("live", None, True),
        ("production", None, True),
        ("live", "", True),  # empty is unset
        ("live", "0", False),
        ("production", "0", False),
        ("staging", None, False),
        ("development", "", False),
        ("development", "1", True),
        (None, None, False),
    ],
)
def test_alerts_leave_where_the_environment_or_the_switch_says_so(tmp_path, environment, enabled, leaves):
    given = {"NOTIFY_ENVIRONMENT": environment, "ALERTS_ENABLED": enabled, "ALERT_EMAILS": "ops@example.org"}
    done = ask(tmp_path, **{name: word for name, word in given.items() if word is not None})
    assert done.returncode == 0, done.stderr
    assert (done.stdout.strip() == "they leave") is leaves
    assert leaves or "Alerts are off here" in done.stdout


@pytest.mark.parametrize(
    ("given", "read"),
    [("a@example.org, b@example.org ,", "['a@example.org', 'b@example.org']"), (" , ", "[]"), ("", "[]")],
)
def test_addresses_may_be_written_with_blanks(tmp_path, given, read):
    question = "from notify import settings; print(settings.ALERT_EMAILS)"
    assert ask(tmp_path, question, ALERT_EMAILS=given).stdout.strip() == read


def test_with_nobody_to_tell_it_says_so(tmp_path):
    assert "set ALERT_EMAILS or ALERT_WEBHOOK_URL" in ask(tmp_path, NOTIFY_ENVIRONMENT="live").stdout
    assert ask(tmp_path, NOTIFY_ENVIRONMENT="live", ALERT_WEBHOOK_URL="https://x.example/").stdout == "they leave\n"


def test_a_switch_that_is_neither_yes_nor_no_stops_the_start(tmp_path):
    done = ask(tmp_path, ALERTS_ENABLED="maybe")
    assert done.returncode != 0
    assert "A switch is set to 'maybe'. Write 1 or 0, or leave it unset." in done.stderr
