"""Providers to play with: one process that answers as MMG, Firetext, a mail server and a service's callback address.

It takes messages, sends real receipts back, and does on request what real providers do on bad days: refuse, put off,
take a message and cut the line, take it and never answer, answer a byte at a time, or nonsense. What it was asked and
what it did is in its ledger, which is how a drill proves that nobody was told twice and nobody was forgotten. The
ledger never names a recipient.
"""

import asyncio
import fcntl
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from providers.simulator_options import Options
from providers.simulator_receipts import Postman, firetext_body, mmg_body
from providers.simulator_smtp import mail_server

# Fates in which the provider has the message, whatever the caller heard.
TAKEN = ("accepted", "cut", "hung", "dripped", "garbled")

DRIP_EVERY = 0.2  # seconds


class SimulatorBusy(Exception):
    """Another simulator writes to the same ledger; the text is for the person who started this one."""


class Simulator:
    """The desks behind one port, and the mail desk behind its own. url and mail_address are set once it listens."""

    def __init__(self, options: Options, ledger: TextIO, postman: Postman) -> None:
        self.options = options
        self.ledger = ledger
        self.postman = postman
        self.random = random.Random(options.seed)  # noqa: S311 - chance to play with, not a secret
        self.counts: Counter[str] = Counter()
        self.address = ""
        self.mail_address = ""

    @property
    def url(self) -> str:
        """The address to give to a provider's configuration, without the final slash."""
        return f"http://{self.address}"

    def application(self) -> web.Application:
        """Put up the desks."""
        application = web.Application()
        application.router.add_post("/mmg/", self.mmg)
        application.router.add_post("/firetext/", self.firetext)
        application.router.add_post("/callbacks/{rest:.*}", self.callback)
        application.router.add_get("/", self.summary)
        return application

    async def mmg(self, request: web.Request) -> web.StreamResponse:
        """Take one message as MMG does."""
        try:
            body = await request.json()
            reference, recipient = str(body["cid"]), str(body["MSISDN"])
        except (ValueError, KeyError, TypeError):
            self.enter("", "sms", "refused")
            return web.json_response({"Error": 100, "Description": "Request not understood"}, status=400)
        if not request.headers.get("Authorization", "").startswith("Basic "):
            self.enter(reference, "sms", "refused")
            return web.json_response({"Error": 101, "Description": "Authentication error"}, status=401)
        return await self.decide(
            request,
            reference,
            accepted=web.json_response({"Reference": self.random.randrange(10**8)}),
            refused=web.json_response({"Error": 206, "Description": "Number not allowed"}, status=400),
            receipt=lambda status, at: ("/receipts/mmg/", mmg_body(reference, recipient, status, at)),
        )

    async def firetext(self, request: web.Request) -> web.StreamResponse:
        """Take one message as Firetext does: it refuses with HTTP 200."""
        form = await request.post()
        reference, recipient = str(form.get("reference", "")), str(form.get("to", ""))
        if not (reference and recipient and form.get("apiKey")):
            self.enter(reference, "sms", "refused")
            return web.json_response({"code": 1, "description": "Authentication error"})
        return await self.decide(
            request,
            reference,
            accepted=web.json_response({"code": 0, "description": "SMS successfully queued", "responseData": 1}),
            refused=web.json_response({"code": 2, "description": "Destination number error"}),
            receipt=lambda status, at: ("/receipts/firetext/", firetext_body(reference, recipient, status, at)),
        )

    async def decide(
        self,
        request: web.Request,
        reference: str,
        *,
        accepted: web.Response,
        refused: web.Response,
        receipt: Callable[[str, datetime], tuple[str, dict[str, Any]]],
    ) -> web.StreamResponse:
        """Let chance choose what becomes of a message; one that is taken gets a receipt, answered or not."""
        fate = self.choose(self.options.answers, otherwise="accepted")
        self.enter(reference, "sms", fate)
        self.report(fate, receipt)
        if fate == "hung":
            await asyncio.Event().wait()  # until the caller leaves, or the simulator stops
        await asyncio.sleep(self.options.answer_delay)
        if fate == "dripped":
            await drip(request)
        if fate == "garbled":
            return web.Response(body=b"\x00" + self.random.randbytes(200), content_type="application/json")
        if fate == "cut" and request.transport:
            request.transport.abort()
        if fate == "try-later":
            busy = {"Description": "Busy", "description": "Busy"}  # as the one says it, and as the other does
            return web.json_response(busy, status=429, headers={"Retry-After": "1"})
        return refused if fate == "refused" else accepted

    def report(self, fate: str, receipt: Callable[[str, datetime], tuple[str, dict[str, Any]]]) -> None:
        """Send what a message that was taken gets back: one receipt, or by chance the same one twice."""
        if fate not in TAKEN:
            return
        settled_at = datetime.now(UTC) + timedelta(seconds=self.options.receipt_delay)
        path, body = receipt(self.choose(self.options.statuses, otherwise="delivered"), settled_at)
        for _ in range(2 if self.random.random() < self.options.duplicate_rate else 1):
            self.postman.post(path, body, delay=self.options.receipt_delay)

    async def callback(self, request: web.Request) -> web.StreamResponse:
        """Be a service that is told what became of a message."""
        try:
            reference = str((await request.json())["id"])
        except (ValueError, KeyError, TypeError):
            reference = ""
        failed = not reference or self.random.random() < self.options.callback_failure_rate
        self.enter(reference, "callback", "failed" if failed else "delivered")
        await asyncio.sleep(self.options.callback_delay)
        return web.Response(status=500 if failed else 200)

    async def summary(self, request: web.Request) -> web.StreamResponse:
        """Show what was counted so far."""
        receipts = {"sent": self.postman.sent, "waiting": self.postman.queue.qsize(), "repeated": self.postman.repeated}
        return web.json_response(
            {"requests": dict(sorted(self.counts.items())), "receipts": receipts, "smtp": self.mail_address}
        )

    def choose(self, rates: dict[str, float], *, otherwise: str) -> str:
        """Draw one of the named chances."""
        draw = self.random.random()
        for name, rate in rates.items():
            if draw < rate:
                return name
            draw -= rate
        return otherwise

    def enter(self, reference: str, channel: str, outcome: str) -> None:
        """Write one line of the ledger, before anything is answered."""
        self.counts[f"{channel} {outcome}"] += 1
        line = {"id": reference, "channel": channel, "at": datetime.now(UTC).isoformat(), "outcome": outcome}
        self.ledger.write(json.dumps(line) + "\n")


async def drip(request: web.Request) -> None:
    """Begin an answer and go on with it, a byte at a time, until the caller leaves or the simulator stops."""
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(DRIP_EVERY)


@contextmanager
def _open_ledger(path: Path) -> Iterator[TextIO]:
    """Start the ledger anew, one write per line. Raises SimulatorBusy when another process has it, and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", buffering=1) as ledger:
        try:
            fcntl.flock(ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SimulatorBusy("Another simulator writes to this ledger: stop it, or give another --ledger.") from None
        ledger.truncate(0)
        yield ledger


@asynccontextmanager
async def start(options: Options) -> AsyncIterator[Simulator]:
    """Run a simulator until the block ends. Raises SimulatorBusy, and OSError for an address it cannot have."""
    with _open_ledger(options.ledger) as ledger:
        async with Postman(options.web, options.receipt_user, options.receipt_password) as postman:
            simulator = Simulator(options, ledger, postman)
            # Cancelled when their caller leaves, requests that hang do not pile up; nor do they delay the end.
            runner = web.AppRunner(
                simulator.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
            )
            await runner.setup()
            try:
                await web.TCPSite(runner, options.host, options.port, backlog=1024).start()
                host, port = runner.addresses[0][:2]
                simulator.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                async with mail_server(simulator, options.host, options.smtp_port) as simulator.mail_address:
                    yield simulator
            finally:
                await runner.cleanup()
