"""The simulator: its ledger, its receipts, and its chances."""

import asyncio
import base64
import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from providers import simulator
from providers.backends import Message, client_session
from providers.backends.firetext import Firetext
from providers.backends.mmg import MMG
from providers.simulator_options import OptionProblem, Options

BACKENDS = {"mmg": MMG, "firetext": Firetext}


def read_ledger(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def send(running, name, *, ids, timeout="5"):
    config = {"url": f"{running.url}/{name}/", "api_key": "key", "timeout": timeout}
    backend = BACKENDS[name](config)
    async with client_session(limit=20) as session:
        messages = [Message(id, "+447700900123", "Hello Ann", "Council") for id in ids]
        return await asyncio.gather(*[backend.send(session, message) for message in messages])


async def until(condition, *, seconds=10):
    """Wait for something that another task brings about; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def receiver(*, statuses=(), port=0):
    """A web process that notes (path, authorization, body) and answers with the given statuses, then with 200."""
    got, answers = [], iter(statuses)

    async def take(request):
        got.append((request.path, request.headers.get("Authorization"), await request.read()))
        return web.Response(status=next(answers, 200))

    runner = web.AppRunner(application := web.Application(), access_log=None, shutdown_timeout=0.1)
    application.router.add_post("/{path:.*}", take)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0]), got
    finally:
        await runner.cleanup()


def run_with_receiver(path, name, *, ids=("a",), statuses=(), expect=None, **options):
    """Send messages, wait for their receipts. Returns what the web process got."""

    async def run():
        async with receiver(statuses=statuses) as (web_url, got):
            settings = {"ledger": path, "web": web_url, "receipt_delay": 0.01, "answer_delay": 0} | options
            async with simulator.start(Options(**settings)) as running:
                await send(running, name, ids=ids)
                await until(lambda: len(got) >= (expect or len(ids)))
                return got

    return asyncio.run(run())


def reports(name, got):
    return [report for _, _, body in got for report in BACKENDS[name]({}).read_receipt(body, "")]


def test_the_ledger_has_one_line_per_request_and_names_no_recipient(tmp_path):
    async def run():
        async with simulator.start(Options(ledger=path, answer_delay=0, callback_delay=0)) as running:
            await send(running, "mmg", ids=["one", "two"])
            await send(running, "firetext", ids=["three"])
            async with client_session(limit=1) as session:
                for body in ({"id": "one", "to": "+447700900123"}, {"no": "id"}):
                    await session.post(f"{running.url}/callbacks/service", json=body)
                async with session.get(running.url) as answer:
                    return await answer.json()

    path = tmp_path / "deep" / "ledger.jsonl"
    counts = asyncio.run(run())
    lines = read_ledger(path)
    assert sorted((line["channel"], line["id"], line["outcome"]) for line in lines) == [
        ("callback", "", "failed"),
        ("callback", "one", "delivered"),
        ("sms", "one", "accepted"),
        ("sms", "three", "accepted"),
        ("sms", "two", "accepted"),
    ]
    assert {tuple(line) for line in lines} == {("id", "channel", "at", "outcome")}
    assert all(line["at"].endswith("+00:00") for line in lines)
    assert counts["requests"] == {"callback delivered": 1, "callback failed": 1, "sms accepted": 3}
    assert "7700900123" not in path.read_text()


@pytest.mark.parametrize("name", ["mmg", "firetext"])
@pytest.mark.parametrize("rate", [{}, {"cut_rate": 1.0}])
def test_a_message_that_was_taken_gets_a_receipt_that_its_backend_reads(name, rate, tmp_path):
    got = run_with_receiver(tmp_path / "ledger.jsonl", name, receipt_password="secret", **rate)
    (report,) = reports(name, got)
    assert (report.reference, report.status) == ("a", "delivered")
    assert abs(report.occurred_at.timestamp() - time.time()) < 5
    path, authorization, _ = got[0]
    assert (path, authorization) == (
        f"/receipts/{name}/",
        "Basic " + base64.b64encode(b"simulator:secret").decode(),
    )


@pytest.mark.parametrize("name", ["mmg", "firetext"])
def test_the_failure_rates_decide_what_receipts_say(name, tmp_path):
    statuses = {
        rate: {report.status for report in reports(name, run_with_receiver(tmp_path / "l", name, **{rate: 1.0}))}
        for rate in ("permanent_rate", "temporary_rate")
    }
    assert statuses == {"permanent_rate": {"permanent-failure"}, "temporary_rate": {"temporary-failure"}}
    mixed = reports(name, run_with_receiver(tmp_path / "l", name, ids=range(60), failure_rate=1.0, seed=1))
    assert set(Counter(report.status for report in mixed)) == {"permanent-failure", "temporary-failure"}


def test_a_doubled_receipt_comes_twice_with_the_same_bytes(tmp_path):
    got = run_with_receiver(tmp_path / "ledger.jsonl", "firetext", duplicate_rate=1.0, expect=2)
    assert len(got) == 2
    assert got[0] == got[1]
    assert dict(parse_qsl(got[0][2].decode()))["reference"] == "a"


def test_a_receipt_that_is_not_taken_comes_again(tmp_path):
    got = run_with_receiver(tmp_path / "ledger.jsonl", "mmg", statuses=[500, 401, 302], expect=4)
    assert [body for _, _, body in got] == [got[0][2]] * 4


def test_receipts_wait_for_a_web_process_that_is_not_up_yet(tmp_path):
    async def run():
        async with receiver() as (web_url, _):
            port = int(web_url.rpartition(":")[2])
        options = Options(ledger=tmp_path / "ledger.jsonl", web=web_url, receipt_delay=0, answer_delay=0)
        async with simulator.start(options) as running:
            await send(running, "mmg", ids=["a"])
            await until(lambda: running.postman.repeated)
            async with receiver(port=port) as (_, got):
                await until(lambda: got)
                return got

    assert [report.reference for report in reports("mmg", asyncio.run(run()))] == ["a"]


def test_callbacks_fail_on_request(tmp_path):
    async def run():
        options = Options(ledger=tmp_path / "l", callback_failure_rate=1.0, callback_delay=0)
        async with simulator.start(options) as running, client_session(limit=1) as session:
            return (await session.post(f"{running.url}/callbacks/", json={"id": "one"})).status

    assert asyncio.run(run()) == 500
    assert [(line["id"], line["outcome"]) for line in read_ledger(tmp_path / "l")] == [("one", "failed")]


def test_the_same_seed_gives_the_same_chances_in_the_given_shares(tmp_path):
    def fates(seed):
        options = Options(ledger=tmp_path / "l", seed=seed, refuse_rate=0.3, cut_rate=0.2)
        chances = simulator.Simulator(options, None, None)
        return [chances.choose(options.answers, otherwise="accepted") for _ in range(2_000)]

    assert fates(7) == fates(7) != fates(8)
    count = Counter(fates(7))
    assert (round(count["refused"], -2), round(count["cut"], -2), round(count["accepted"], -2)) == (600, 400, 1_000)


def test_a_request_without_credentials_or_sense_is_refused(tmp_path):
    async def run():
        async with simulator.start(Options(ledger=tmp_path / "l")) as running, client_session(limit=1) as session:
            for path, body in (
                ("mmg", {"json": {"cid": "a", "MSISDN": "44"}}),
                ("mmg", {"data": b"\xff"}),
                ("firetext", {"data": {"reference": "b", "to": "44"}}),
                ("firetext", {"data": b"\xff"}),
            ):
                async with session.post(f"{running.url}/{path}/", **body) as answer:
                    yield answer.status, (await answer.json()).get("code")

    async def collect():
        return [answer async for answer in run()]

    assert asyncio.run(collect()) == [(401, None), (400, None), (200, 1), (200, 1)]
    assert {line["outcome"] for line in read_ledger(tmp_path / "l")} == {"refused"}


def test_a_ledger_is_begun_anew_and_belongs_to_one_simulator(tmp_path):
    async def run():
        async with simulator.start(options):
            with pytest.raises(simulator.SimulatorBusy):
                async with simulator.start(options):
                    pass

    options = Options(ledger=tmp_path / "l")
    options.ledger.write_text("old\n")
    asyncio.run(run())
    assert options.ledger.read_text() == ""


@pytest.mark.parametrize("name", ["mmg", "firetext"])
@pytest.mark.parametrize(
    ("rate", "outcome", "reason"),
    [("drip_rate", "dripped", "no answer within"), ("garbage_rate", "garbled", "not in its own format")],
)
def test_a_provider_that_drips_or_babbles_has_the_message_and_nobody_knows(name, rate, outcome, reason, tmp_path):
    async def run():
        async with simulator.start(Options(ledger=tmp_path / "l", answer_delay=0, **{rate: 1.0})) as running:
            return await send(running, name, ids=["a"], timeout="0.5")

    [result] = asyncio.run(run())
    assert (result.outcome, reason in result.reason) == ("unknown", True)
    assert [(line["id"], line["outcome"]) for line in read_ledger(tmp_path / "l")] == [("a", outcome)]
    assert outcome in simulator.TAKEN


def test_rates_may_reach_the_edge(tmp_path):
    Options(ledger=tmp_path, refuse_rate=0.7, try_later_rate=0.1, cut_rate=0.1, hang_rate=0.1, duplicate_rate=1.0)
    with pytest.raises(OptionProblem):
        Options(ledger=tmp_path, refuse_rate=0.7, try_later_rate=0.1, cut_rate=0.1, hang_rate=0.11)
