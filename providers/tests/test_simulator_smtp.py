"""The simulator's mail server, as our own backend and our own reader of reports meet it."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from providers import esp, simulator
from providers.backends import Message
from providers.backends.email import Email
from providers.simulator_options import OptionProblem, Options
from providers.simulator_smtp import postmark_body

KEY = "0197f000-0000-7000-8000-000000000001"


def send(path, **options):
    """Send one email; returns its result and the ledger's lines."""

    async def run():
        async with simulator.start(Options(ledger=path / "ledger", answer_delay=0, **options)) as running:
            config = {"url": f"smtp://{running.mail_address}", "from_address": "a@example.org", "timeout": "1"}
            backend = Email(config)
            try:
                return await backend.send(None, Message(KEY, "person@example.org", "Hello", "Us", subject="Hello"))
            finally:
                await asyncio.to_thread(backend.close)

    result = asyncio.run(run())
    text = (path / "ledger").read_text()
    assert "person" not in text
    return result, [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("rates", "outcome", "entered"),
    [
        ({}, "accepted", "accepted"),
        ({"refuse_rate": 1}, "refused", "refused"),
        ({"try_later_rate": 1}, "try-later", "try-later"),
        ({"cut_rate": 1}, "unknown", "cut"),
        ({"hang_rate": 1}, "unknown", "hung"),
        ({"garbage_rate": 1}, "unknown", "garbled"),
    ],
)
def test_each_fate_is_what_our_backend_makes_of_it_and_is_in_the_ledger(tmp_path, rates, outcome, entered):
    result, [line] = send(tmp_path, **rates)
    assert result.outcome == outcome
    assert (line["id"], line["channel"], line["outcome"]) == (KEY, "email", entered)


@pytest.mark.parametrize("status", ["delivered", "permanent-failure", "temporary-failure"])
def test_its_reports_are_read_as_they_are_meant(status):
    at = datetime(2026, 3, 29, 12, tzinfo=UTC)
    body = json.dumps(postmark_body(KEY, "a@example.org", status, at)["json"]).encode()
    [report] = esp.read(body, esp.label("postmark", "application/json"))
    assert (report.reference, report.status, report.occurred_at) == (KEY, status, at)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_an_impossible_port_is_refused(tmp_path, port):
    with pytest.raises(OptionProblem, match="--smtp-port"):
        Options(ledger=tmp_path / "ledger", smtp_port=port)
