"""`manage.py alerts` and `manage.py send_test_alert`."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from callbacks.tests.receiver import Receiver
from notify import telling
from notify.alerts import raise_alert
from notify.models import Alert
from notify.tests.mail_server import MailServer

NOW = datetime(2026, 7, 1, 11, 0, 0, 250_000, tzinfo=UTC)
KEYS = [
    "id", "kind", "scope", "message", "state", "times_seen", "first_seen_at", "last_seen_at", "acknowledged_at",
    "snoozed_until", "resolved_at", "email_told_at", "webhook_told_at", "url",
]  # fmt: skip
pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def records(*arguments: str) -> list[dict]:
    return [json.loads(line) for line in run("alerts", "--json", *arguments).splitlines()]


@pytest.fixture
def two(settings):
    settings.BASE_URL = "https://notify.example.org"
    raise_alert("job-stalled", "job 1", "It stopped.\n[bold]Look[/bold] “here”.", now=NOW)
    raise_alert("no-provider", "sms", "None.", now=NOW + timedelta(hours=1))
    Alert.objects.filter(kind="no-provider").update(resolved_at=NOW + timedelta(hours=2))


def test_json_has_stable_keys_and_times_in_utc(two):
    newest, older = records()
    assert list(newest) == list(older) == KEYS
    alert = Alert.objects.get(scope="job 1")
    assert older == {
        **dict.fromkeys(KEYS), "id": str(alert.pk), "kind": "job-stalled", "scope": "job 1",
        "message": "It stopped.\n[bold]Look[/bold] “here”.", "state": "open", "times_seen": 1,
        "first_seen_at": "2026-07-01T11:00:00.250000Z", "last_seen_at": "2026-07-01T11:00:00.250000Z",
        "url": f"https://notify.example.org/admin/notify/alert/{alert.pk}/change/",
    }  # fmt: skip
    assert (newest["state"], newest["resolved_at"]) == ("resolved", "2026-07-01T13:00:00.250000Z")
    assert run("alerts", "--json").isascii()


def test_open_and_kind_narrow_it(two):
    assert [record["scope"] for record in records("--open")] == ["job 1"]
    assert [record["scope"] for record in records("--kind", "no-provider")] == ["sms"]
    assert records("--open", "--kind", "no-provider") == records("--kind", "nonsense") == []


def test_the_table_is_for_people(two):
    shown = run("alerts")
    for text in ("job-stalled", "resolved", "1 Jul 2026, 12:00 BST", "[bold]Look[/bold] “here”."):
        assert text in shown
    assert "no-provider" not in run("alerts", "--open")
    assert run("alerts", "--kind", "nonsense") == "No alert.\n"


def test_a_terminal_without_other_scripts_shows_what_it_can(two):
    raw = BytesIO()
    with TextIOWrapper(raw, encoding="ascii", write_through=True) as out:
        call_command("alerts", stdout=out)
        shown = raw.getvalue().decode("ascii")
    assert "[bold]Look[/bold] ?here?." in shown
    assert "job-stalled" in shown


def test_a_long_table_says_that_there_is_more():
    Alert.objects.bulk_create(Alert(kind="a", scope=f"scope-{number:03d}", message="") for number in range(201))
    shown = run("alerts")
    assert sum("scope-" in line for line in shown.splitlines()) == 200
    assert "The newest 200 are shown" in shown
    assert len(records()) == 201


@pytest.fixture
def both(settings):
    """Both channels, really there."""
    with MailServer() as mail, Receiver() as hook:
        settings.ALERTS_ENABLED = True
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", mail.port, 2
        settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.org"], hook.url("hook")
        yield mail, hook


def test_a_test_alert_goes_out_by_both_channels_and_is_resolved(both):
    mail, hook = both
    assert run("send_test_alert") == "webhook: sent\nemail: sent\n"
    assert (len(mail.emails), len(hook.received)) == (1, 1)
    assert "Nothing is wrong" in mail.emails[0].get_body(["plain"]).get_content()
    alert = Alert.objects.get()
    assert (alert.kind, bool(alert.resolved_at), bool(alert.email_told_at)) == ("test", True, True)
    telling.send_alerts(now=datetime.now(UTC))
    assert (len(mail.emails), len(hook.received)) == (1, 1)
    run("send_test_alert")
    assert (len(mail.emails), len(hook.received)) == (2, 2)


@pytest.mark.parametrize("broken", ["email", "webhook"])
def test_a_channel_that_fails_is_named_and_the_other_still_sends(both, broken, settings):
    mail, hook = both
    mail.answer = "554 No" if broken == "email" else mail.answer
    hook.answers["hook"] = {"status": 500 if broken == "webhook" else 200}
    out = StringIO()
    with pytest.raises(CommandError, match=f"not told by {broken}") as failed:
        call_command("send_test_alert", stdout=out)
    assert failed.value.returncode == 3
    error = {"email": "SMTPDataError 554", "webhook": "answered 500"}[broken]
    lines = {"email": "email: sent", "webhook": "webhook: sent"} | {broken: f"{broken}: FAILED, {error}"}
    assert sorted(out.getvalue().splitlines()) == sorted(lines.values())
    assert Alert.objects.get().resolved_at


def test_where_alerts_are_off_it_says_why_and_sends_nothing(both, settings):
    mail, hook = both
    settings.ALERTS_ENABLED = False
    with pytest.raises(CommandError, match=r"Nothing was sent\. Alerts are off here.*it is 'development'") as off:
        run("send_test_alert")
    assert off.value.returncode == 3
    settings.ALERTS_ENABLED, settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = True, [], ""
    with pytest.raises(CommandError, match="set ALERT_EMAILS or ALERT_WEBHOOK_URL"):
        run("send_test_alert")
    assert (mail.connections, hook.received, Alert.objects.count()) == (0, [], 0)


def test_a_channel_that_is_not_set_up_is_no_failure(both, settings):
    settings.ALERT_WEBHOOK_URL = ""
    assert run("send_test_alert") == "webhook: not used, ALERT_WEBHOOK_URL is not set\nemail: sent\n"


def test_what_a_killed_run_left_open_is_resolved_by_the_next(both):
    raise_alert("test", "test of yesterday", "", now=NOW)
    run("send_test_alert")
    assert not Alert.objects.open().exists()


class SecondRun(BaseHTTPRequestHandler):
    """Answers a test alert once a second run of the command came and went, and notes which alerts were open then."""

    def do_POST(self):
        """Take an alert; the first one starts the second run."""
        title = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"].splitlines()[0]
        if not self.server.titles:
            self.server.titles.append(title)
            try:
                run("send_test_alert")
                self.server.open_then += Alert.objects.open().values_list("scope", flat=True)
            finally:
                connection.close()
        self.server.titles.append(title)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.mark.django_db(transaction=True)
def test_a_run_meanwhile_does_not_resolve_the_alert_that_is_on_the_wire(settings):
    server = ThreadingHTTPServer(("127.0.0.1", 0), SecondRun)
    server.titles, server.open_then = [], []
    settings.ALERTS_ENABLED, settings.ALERT_EMAILS = True, []
    settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert run("send_test_alert").startswith("webhook: sent")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(set(server.titles)) == 2
    assert [scope for scope in server.open_then if scope in server.titles[0]] == server.open_then != []
    assert not Alert.objects.open().exists()
