"""What a backend answers to everything a provider can do."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from providers import simulator
from providers.backends import Message, Outcome, Result, client_session, load_backend
from providers.backends.firetext import Firetext
from providers.backends.mmg import MMG
from providers.simulator_options import Options

ID = "0193a1b2-0000-7000-8000-123456789012"
MESSAGE = Message(ID, "+447700900123", "Dear Ann, your appointment is on Monday.", "Council")
BOTH = pytest.mark.parametrize("name", ["mmg", "firetext"])


PATHS = {"mmg": "providers.backends.mmg.MMG", "firetext": "providers.backends.firetext.Firetext"}


async def send_to(name, address, message=MESSAGE, **over):
    backend = load_backend(PATHS[name], {"url": address, "api_key": "key", "timeout": "5"} | over)
    async with client_session(limit=10) as session:
        return await backend.send(session, message)


def send_to_simulator(name, path, **options):
    """Send one message to a real simulator. Returns the result and the outcomes in its ledger."""
    over = {"timeout": "0.4"} if "hang_rate" in options else {}

    async def run():
        async with simulator.start(Options(ledger=path, answer_delay=0, **options)) as running:
            return await send_to(name, f"{running.url}/{name}/", **over)

    result = asyncio.run(run())
    return result, [(line["id"], line["outcome"]) for line in map(json.loads, path.read_text().splitlines())]


@asynccontextmanager
async def server(handler):
    runner = web.AppRunner(application := web.Application(), access_log=None, shutdown_timeout=0.1)
    application.router.add_post("/", handler)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}/".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


def answered(name, *, message=MESSAGE, **response):
    """Send one message to a server that gives one answer."""

    async def handler(request):
        return web.Response(**response)

    async def run():
        async with server(handler) as url:
            return await send_to(name, url, message)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "rate", "fate", "outcome", "reason", "retry_after"),
    [
        ("mmg", "refuse_rate", "refused", "refused", "answered 400: 206: Number not allowed", None),
        ("firetext", "refuse_rate", "refused", "refused", "2: Destination number error", None),
        ("mmg", "try_later_rate", "try-later", "try-later", "answered 429: Busy", 1.0),
        ("firetext", "try_later_rate", "try-later", "try-later", "answered 429: Busy", 1.0),
        ("mmg", "cut_rate", "cut", "unknown", "the line was cut before an answer came", None),
        ("firetext", "cut_rate", "cut", "unknown", "the line was cut before an answer came", None),
        ("mmg", "hang_rate", "hung", "unknown", "no answer within 0.4 seconds", None),
        ("firetext", "hang_rate", "hung", "unknown", "no answer within 0.4 seconds", None),
    ],
)
def test_what_the_simulator_does_is_understood(name, rate, fate, outcome, reason, retry_after, tmp_path):
    result, ledger = send_to_simulator(name, tmp_path / "ledger.jsonl", **{rate: 1.0})
    assert result == Result(Outcome(outcome), reason, retry_after=retry_after)
    assert ledger == [(ID, fate)]


@BOTH
def test_an_accepted_message_is_accepted(name, tmp_path):
    result, ledger = send_to_simulator(name, tmp_path / "ledger.jsonl")
    assert (result.outcome, result.reason, bool(result.provider_reference)) == ("accepted", "", name == "mmg")
    assert ledger == [(ID, "accepted")]


@BOTH
def test_where_nothing_listens_nothing_was_sent(name):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        assert asyncio.run(send_to(name, url)) == Result(Outcome.TRY_LATER, "no connection could be made")


def test_a_connection_that_takes_too_long_was_not_written_to():
    with socket.socket() as full:  # a queue of one place, taken: the next connection waits for ever
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            url = "http://{}:{}/".format(*full.getsockname())
            result = asyncio.run(send_to("mmg", url, timeout="0.4"))
    assert result == Result(Outcome.TRY_LATER, "no connection could be made")


@pytest.mark.parametrize("over", [{"api_key": ""}, {"api_key": "a\nb"}, {"url": "nonsense"}, {"url": "ftp://a/"}])
def test_a_provider_that_is_set_up_wrongly_costs_no_message(over):
    assert asyncio.run(send_to("mmg", "http://127.0.0.1:9/", **over)).outcome == Outcome.TRY_LATER


@BOTH
@pytest.mark.parametrize("status", [401, 403, 407, 408, 429, 500, 503, 404, 405])
def test_what_is_not_the_messages_fault_is_tried_later(name, status):
    assert answered(name, status=status, text="<html>").outcome == Outcome.TRY_LATER


@BOTH
@pytest.mark.parametrize("status", [502, 504, 520, 524])
def test_a_gateways_answer_leaves_open_whether_the_provider_took_it_unless_the_words_are_the_providers(name, status):
    for text in ("<html>", "", "{}", "[]", '"Bad gateway"'):
        assert answered(name, status=status, text=text) == Result(Outcome.UNKNOWN, f"a gateway answered {status}")
    words = json.dumps({"Error": 1, "Description": "busy", "code": 1, "description": "busy"})
    assert answered(name, status=status, text=words) == Result(Outcome.TRY_LATER, f"answered {status}: 1: busy")


@BOTH
@pytest.mark.parametrize("status", [400, 402, 409, 413, 422, 404])
def test_an_error_about_the_message_refuses_it_in_the_providers_words(name, status):
    text = '{"Error": 206, "Description": "Sender\\u0000 unknown", "code": 206, "description": "Sender\\nunknown"}'
    assert answered(name, status=status, text=text) == Result(
        Outcome.REFUSED, f"answered {status}: 206: Sender unknown"
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    async def handler(request):
        seen.append(request.path)
        return web.Response(status=status, headers={"Location": "/"})

    async def run():
        async with server(handler) as url:
            return await send_to("mmg", url)

    seen = []
    assert asyncio.run(run()) == Result(Outcome.TRY_LATER, "answered with a redirect")
    assert seen == ["/"]


@BOTH
@pytest.mark.parametrize("text", ["", "OK", "<html>", "[" * 60_000, '{"code": 0, "Reference": "' + "x" * 70_000 + '"}'])
def test_a_yes_that_cannot_be_read_is_unknown(name, text):
    assert answered(name, text=text) == Result(Outcome.UNKNOWN, "answered, but not in its own format")


@pytest.mark.parametrize("text", ["{}", "[]", '{"code": null}', '{"code": false}', '{"code": "x"}', '{"code": -1}'])
def test_firetext_without_a_code_is_unknown_and_mmg_with_any_json_accepted(text):
    assert (answered("firetext", text=text).outcome, answered("mmg", text=text).outcome) == ("unknown", "accepted")


@pytest.mark.parametrize(
    ("code", "outcome"), [("0", "accepted"), ('"0"', "accepted"), ("1", "refused"), ("10", "refused")]
)
def test_firetext_says_no_with_http_200(code, outcome):
    assert answered("firetext", text=f'{{"code": {code}, "description": "so"}}').outcome == outcome


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("0", 0), ("120", 120), ("999999999999", 86_400), ("-5", None), ("soon", None), ("", None), ("1.5", None)],
)
def test_the_providers_own_wait_is_read(header, seconds):
    assert answered("mmg", status=503, headers={"Retry-After": header}).retry_after == seconds


def test_the_providers_own_wait_may_be_a_date_and_never_lies_in_the_past():
    now = datetime.now(UTC)
    ahead, past = (
        answered("mmg", status=503, headers={"Retry-After": format_datetime(now + wait, usegmt=True)}).retry_after
        for wait in (timedelta(minutes=5), timedelta(minutes=-5))
    )
    assert 200 < ahead <= 300
    assert past == 0


@BOTH
@pytest.mark.parametrize("number", ["+447700900123", "447700900123", "07700 900123", "+44 (0)7700 900-123"])
def test_recipient_and_body_never_come_back_in_a_reason(name, number):
    words = f"Cannot send 'Dear Ann, your\nappointment' to {number} now"
    text = json.dumps({"code": 5, "Description": words, "description": words})
    reason = answered(name, status=400, text=text).reason
    assert "Cannot send" in reason
    assert not any(secret in reason for secret in ("900", "7700", "Ann", "appointment"))


def test_a_reason_has_at_most_200_characters():
    text = json.dumps({"Error": 1, "Description": "no " * 20_000})
    assert len(answered("mmg", status=400, text=text).reason) == 200


def test_each_provider_gets_what_its_interface_asks_for():
    config = {"api_key": " key ", "sender": "Default", "receipt_url": "https://a/r"}
    assert MMG(config).request(MESSAGE) == {
        "headers": {"Authorization": "Basic key"},
        "json": {
            "reqType": "BULK",
            "MSISDN": "+447700900123",
            "msg": MESSAGE.body,
            "sender": "Council",
            "cid": ID,
            "multi": True,
            "delurl": "https://a/r",
        },
    }
    plain = Message(ID, "+447700900123", "Hello", "")
    assert Firetext({"api_key": "key", "sender": "Default"}).request(plain)["data"] == {
        "apiKey": "key",
        "from": "Default",
        "to": "447700900123",
        "message": "Hello",
        "reference": ID,
    }


def test_a_request_gets_ten_seconds_unless_told_otherwise():
    assert (MMG({}).timeout, MMG({"timeout": "2.5"}).timeout) == (10, 2.5)
