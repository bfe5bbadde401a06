"""Emails over a real SMTP conversation: what is written, what each answer means, and the whole way back."""

import asyncio
import csv
import io
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from django.conf import settings as project

from jobs.creation import create_job
from jobs.processing import claim_job, process_rows
from notify.models import Notification
from notify.testing import make_notification, make_provider, make_service, make_template
from providers import receipts, simulator
from providers.backends import Message, Outcome
from providers.backends.email import Email
from providers.sending import send_due
from providers.simulator_options import Options

KEY = "0197f000-0000-7000-8000-000000000001"


class Desk:
    """Answers as it is told and keeps what it was given."""

    def __init__(self):
        self.mails, self.peers = [], set()
        self.rcpt, self.data = "250 OK", "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server, session, envelope):
        self.peers.add(session.peer)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        if self.data == "cut":
            server.transport.abort()
        if self.data == "hang":
            await asyncio.sleep(2)
        return self.data


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture
def desk():
    desk = Desk()
    port = free_port()
    controller = Controller(desk, hostname="127.0.0.1", port=port)
    controller.start()
    desk.url = f"smtp://127.0.0.1:{port}"
    yield desk
    controller.stop()


def message(**fields):
    given = {
        "id": KEY, "recipient": "person@example.org", "body": "Hello", "sender": "Licensing", "subject": "Your licence",
    }  # fmt: skip
    return Message(**(given | fields))


def hand_over(url, *messages, **config):
    """Send through one backend, all at once; returns the results."""

    async def run():
        backend = Email({"url": url, "from_address": "notify@example.org", "timeout": "1"} | config)
        try:
            return list(await asyncio.gather(*[backend.send(None, one) for one in messages]))
        finally:
            backend.close()

    return asyncio.run(run())


def test_an_email_carries_our_id_both_parts_and_who_sends_it(desk):
    html = "<p>Hello</p>"
    [result] = hand_over(desk.url, message(html=html, sender='Le "Bureau", Zoë', reply_to="ask@example.org"))
    assert result.outcome == Outcome.ACCEPTED
    assert result.provider_reference == f"<{KEY}@example.org>"
    [mail] = desk.mails
    assert (mail["X-Notification-Id"], mail["Message-ID"]) == (KEY, f"<{KEY}@example.org>")
    assert (mail["Subject"], mail["To"], mail["Reply-To"]) == ("Your licence", "person@example.org", "ask@example.org")
    assert mail["From"].addresses[0].display_name == 'Le "Bureau", Zoë'
    assert mail["From"].addresses[0].addr_spec == "notify@example.org"
    assert mail.get_body(("plain",)).get_content().strip() == "Hello"
    assert mail.get_body(("html",)).get_content().strip() == html


@pytest.mark.parametrize("field", ["subject", "sender"])
def test_a_line_break_never_begins_a_header(desk, field):
    [result] = hand_over(desk.url, message(**{field: "Hello\r\nBcc: other@example.org\n\nX: y"}))
    assert result.outcome == Outcome.ACCEPTED
    assert desk.mails[0]["Bcc"] is None
    assert desk.mails[0]["X"] is None


def test_a_line_break_in_a_recipient_is_refused_without_a_word_to_the_server(desk):
    [result] = hand_over(desk.url, message(recipient="a@example.org\nBcc: b@example.org"))
    assert result.outcome == Outcome.REFUSED
    assert "example.org" not in result.reason
    assert desk.mails == []


@pytest.mark.parametrize(
    ("rcpt", "data", "outcome"),
    [
        ("550 No such person@example.org", "250 OK", Outcome.REFUSED),
        ("450 Try again", "250 OK", Outcome.TRY_LATER),
        ("250 OK", "554 Looks like spam", Outcome.REFUSED),
        ("250 OK", "451 Try again", Outcome.TRY_LATER),
        ("250 OK", "cut", Outcome.UNKNOWN),
        ("250 OK", "hang", Outcome.UNKNOWN),
    ],
)
def test_each_answer_of_the_server_has_its_outcome_and_names_nobody(desk, rcpt, data, outcome):
    desk.rcpt, desk.data = rcpt, data
    [result] = hand_over(desk.url, message())
    assert result.outcome == outcome
    assert "person" not in result.reason


def test_nobody_listening_means_later():
    [result] = hand_over(f"smtp://127.0.0.1:{free_port()}", message())
    assert result.outcome == Outcome.TRY_LATER


def test_a_server_that_wants_no_password_from_us_means_later(desk):
    [result] = hand_over(desk.url.replace("//", "//user:secret@"), message())
    assert result.outcome == Outcome.TRY_LATER
    assert "secret" not in result.reason
    assert desk.mails == []


def test_many_messages_share_few_connections(desk):
    results = hand_over(desk.url, *[message() for _ in range(30)], connections="3", timeout="10")
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert (len(desk.mails), len(desk.peers) <= 3) == (30, True)


def test_a_message_for_which_no_connection_is_free_in_time_waits(desk):
    desk.data = "hang"
    started = time.monotonic()
    results = hand_over(desk.url, message(), message(), connections="1", timeout="0.6")
    assert [result.outcome for result in results] == [Outcome.UNKNOWN, Outcome.TRY_LATER]
    assert [result.begun for result in results] == [True, False]
    assert time.monotonic() - started < 10
    assert len(desk.mails) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "smtp://", "nonsense", "consolemail://"])
def test_a_url_of_no_mail_server_is_refused_with_an_example(url):
    with pytest.raises(ValueError, match=r"smtp\+tls://"):
        Email({"url": url})


# --- The whole way -------------------------------------------------------------------------------------------------


@contextmanager
def running_simulator(tmp_path, **options):
    """Run the simulator in a thread; gives it."""
    loop, ready, stop, found = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def run():
        async with simulator.start(Options(ledger=tmp_path / "ledger", **options)) as running:
            found.append(running)
            ready.set()
            await stop.wait()

    def main():
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=main)
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def renewals(rows):
    """Make a job of the first rows of the sample, with its template, processed."""
    with (Path(project.BASE_DIR) / "samples" / "renewals_email.csv").open("rb") as sample:
        head = b"".join(line for line, _ in zip(sample, range(rows + 1), strict=False))
    template = make_template(
        make_service(email_from_name="Licensing"), "email",
        subject="Licence ((licence number)) expires on ((expires on))", content="Dear ((first name)), please renew.",
    )  # fmt: skip

    moment = datetime.now(UTC)
    job = create_job(io.BytesIO(head), service=template.service, template=template, file_name="r.csv", now=moment)
    process_rows(claim_job(job.pk, now=moment), clock=lambda: datetime.now(UTC))
    assert len(list(csv.reader(head.decode().splitlines()))) == rows + 1
    return job


@pytest.mark.django_db(transaction=True)
def test_the_sample_of_renewals_comes_back_delivered_or_bounced(tmp_path, live_server, settings):
    settings.LOOP_LINGER_FOR = settings.LOOP_DUE_WITHIN = timedelta(0)
    options = {"receipt_delay": 0, "answer_delay": 0, "permanent_rate": 0.1, "temporary_rate": 0.1, "seed": 7}
    with running_simulator(tmp_path, web=live_server.url, **options) as running:
        config = {"url": f"smtp://{running.mail_address}", "receipt_user": "simulator"}
        make_provider("email", config=config | {"receipt_passwords": ["simulator"]})
        renewals(300)
        sent = Notification.objects.filter(status="created").count()
        assert sent >= 290
        send_due(now=datetime.now(UTC))
        until = time.monotonic() + 120
        while Notification.objects.filter(status="sending").exists() and time.monotonic() < until:
            receipts.apply_batch(now=datetime.now(UTC))
            time.sleep(0.05)
    ends = list(Notification.objects.exclude(status="validation-failed").values_list("status", flat=True))
    assert len(ends) == sent
    assert set(ends) == {"delivered", "permanent-failure", "temporary-failure"}
    assert ends.count("delivered") > 0.6 * sent


@pytest.mark.django_db(transaction=True)
def test_sending_ends_without_a_connection_left_open(desk, settings):
    settings.LOOP_LINGER_FOR = settings.LOOP_DUE_WITHIN = timedelta(0)
    make_provider("email", config={"url": desk.url})
    note = make_notification(notification_type="email", personalisation={"name": "A\nBcc: b@example.org", "date": "x"})
    send_due(now=datetime.now(UTC))
    note.refresh_from_db()
    assert (note.status, desk.mails[0]["Subject"]) == ("sending", "For A Bcc: b@example.org")
    assert not [one for one in threading.enumerate() if one.name.startswith("email")]
