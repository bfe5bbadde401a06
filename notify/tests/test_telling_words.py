"""What an alert says when it leaves."""

from datetime import UTC, datetime, timedelta

import pytest

from notify import telling_channels
from notify.alerts import raise_alert
from notify.models import Alert
from notify.runbook import entry
from notify.telling_words import words_of
from notify.tests.mail_server import MailServer

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 01:30 in London, the first of two
HOUR = timedelta(hours=1)
NASTY = '<script>alert(1)</script> & "quoted"'
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def base(settings):
    settings.BASE_URL, settings.NOTIFY_ENVIRONMENT = "https://notify.example.org/", "live"


def alert(kind="job-stalled", scope="job 7", message="It stopped.\nLook at it.", times=1):
    for hours in range(times):
        raise_alert(kind, scope, message, now=NOW + hours * HOUR)
    return Alert.objects.get()


def test_it_names_what_was_seen_since_when_how_often_who_and_what_to_do():
    told = alert(times=2)
    page = f"https://notify.example.org/admin/notify/alert/{told.pk}/change/"
    words = words_of(told)
    assert words.subject == "[Notify live] job-stalled: job 7"
    assert words.plain == (
        "job-stalled: job 7\n\n"
        "It stopped.\nLook at it.\n\n"
        "Affected: job 7\n"
        "Since: 25 Oct 2026, 01:30 BST\n"
        "Seen: 2 times, last on 25 Oct 2026, 01:30 GMT\n"
        "What to do: README.md#job-stalled (“Runbook: what an alert asks of you”)\n\n"
        f"{entry('job-stalled')}\n\n"
        f"This alert: {page}\n"
        "All open alerts of this kind: https://notify.example.org/admin/notify/alert/?kind=job-stalled\n"
    )
    for text in (words.html, words.webhook):
        for part in ("job-stalled: job 7", "Look at it.", "25 Oct 2026, 01:30 BST", "2 times", "README.md#job-stalled",
                     page, "/admin/notify/alert/?kind=job-stalled"):  # fmt: skip
            assert part in text
    assert "Seen: once" in words_of(Alert(kind="a", scope="1", message="")).plain


def test_it_repeats_what_the_runbook_says(admin_client):
    assert entry("job-stalled").startswith("A job was recovered three times in vain and stays in error. The alert says")
    assert entry("job-stalled").endswith("on the job's page.")
    assert "then choose “Resume” on" in entry("job-stalled")
    assert "run manage.py process_missing_rows JOB." in entry("job-incomplete")
    assert "###" not in "".join(entry(kind) for kind in ("job-stalled", "callback-exhausted"))
    assert entry("no-such-kind") == entry("") == ""
    told = alert(kind="service-inactive")
    assert "Switch it on to send them" in words_of(told).html
    page = admin_client.get(f"/admin/notify/alert/{told.pk}/change/").content.decode()
    assert "Switch it on to send them" in page
    assert "Affected: 1" in words_of(Alert(kind="no-such-kind", scope="1", message="")).plain


def test_both_links_lead_to_a_page_that_shows_it(admin_client):
    told = alert()
    raise_alert("another-kind", "somebody else", "", now=NOW)
    for line in words_of(told).plain.splitlines()[-2:]:
        answer = admin_client.get(line.split(": ", 1)[1].removeprefix("https://notify.example.org"))
        assert answer.status_code == 200
        assert "job 7" in answer.content.decode()
        assert "somebody else" not in answer.content.decode()


def test_markup_is_text_in_html_and_for_a_webhook():
    words = words_of(alert(scope=NASTY, message=f"{NASTY} <!channel> @all @here"))
    assert "<script>" not in words.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;" in words.html
    assert "<" not in words.webhook
    assert "&lt;!channel&gt;" in words.webhook
    assert "@all" not in words.webhook
    assert "@here" not in words.webhook
    assert "<!channel> @all @here" in words.plain


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\x00".replace("\x00", "\x1e")])
def test_a_scope_cannot_add_a_header_or_a_recipient(settings, newline):
    scope = f"job 7{newline}Bcc: somebody@example.com{newline}{newline}Body"
    with MailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.ALERT_EMAILS = ["ops@example.org"]
        assert telling_channels.by_email(words_of(alert(scope=scope))).told
    (email,) = server.emails
    assert server.recipients == [["ops@example.org"]]
    assert email["Bcc"] is None
    assert email["Subject"] == "[Notify live] job-stalled: job 7 Bcc: somebody@example.com Body"
    assert email["To"] == "ops@example.org"
    assert email["Auto-Submitted"] == "auto-generated"


def test_a_long_scope_and_message_are_cut_where_a_receiver_would_choke():
    words = words_of(alert(scope="x" * 200, message="y" * 50_000))
    assert len(words.subject) == 150
    assert len(words.webhook) < 4_000
    assert "y" * 50_000 in words.plain


def test_other_scripts_arrive_as_they_are(settings):
    with MailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.ALERT_EMAILS = ["ops@example.org"]
        telling_channels.by_email(words_of(alert(scope="Gwasanaeth Ŵyn – 住房", message="Ŷ ’“”")))
    (email,) = server.emails
    assert email["Subject"].endswith("Gwasanaeth Ŵyn – 住房")
    assert [part.get_content_type() for part in email.iter_parts()] == ["text/plain", "text/html"]
    assert all("Ŷ ’“”" in part.get_content() for part in email.iter_parts())
