"""The receipts a simulated provider sends back: what they say, and sending them until somebody takes them."""

import asyncio
import base64
import random
import zlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import aiohttp

from providers.backends import LONDON, client_session

CONNECTIONS = 50  # receipts on the wire at once
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds after a receipt nobody took; doubled each time
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=10)
MMG_CODES = {"delivered": ("3", "5"), "permanent-failure": ("2", "1"), "temporary-failure": ("4", "6")}
FIRETEXT_CODES = {"delivered": ("0", "000"), "permanent-failure": ("1", "101"), "temporary-failure": ("1", "102")}


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt on its way: to which path, and its body as arguments of a POST. due: the loop's clock, seconds."""

    path: str
    body: dict[str, Any]
    due: float = 0.0
    tries: int = 0


def mmg_body(reference: str, recipient: str, status: str, at: datetime) -> dict[str, Any]:
    """Write a receipt as MMG does. at: aware; the provider writes London wall-clock time without a zone."""
    code, substatus = MMG_CODES[status]
    return {
        "json": {
            "CID": reference,
            "status": code,
            "substatus": substatus,
            "MSISDN": recipient.removeprefix("+"),
            "reference": str(zlib.crc32(reference.encode())),
            "deliverytime": f"{at.astimezone(LONDON):%Y-%m-%d %H:%M:%S}",
        }
    }


def firetext_body(reference: str, recipient: str, status: str, at: datetime) -> dict[str, Any]:
    """Write a receipt as Firetext does. at: as for mmg_body."""
    code, cause = FIRETEXT_CODES[status]
    return {
        "data": {
            "status": code,
            "code": cause,
            "reference": reference,
            "mobile": recipient,
            "time": f"{at.astimezone(LONDON):%Y-%m-%d %H:%M:%S}",
        }
    }


class Postman:
    """Sends receipts to the web process; one that is not taken with 2xx goes to the end of the queue, for ever.

    Whoever carries a receipt in vain pauses before the next one, so a web process that is away costs little and is
    noticed within LONGEST_PAUSE of its return.
    """

    def __init__(self, web: str, user: str, password: str) -> None:
        self.web = web.rstrip("/")
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
        self.queue: asyncio.Queue[Receipt] = asyncio.Queue()
        self.sent = 0
        self.repeated = 0

    async def __aenter__(self) -> Self:
        """Start the carriers."""
        async with AsyncExitStack() as stack:
            self.session = await stack.enter_async_context(client_session(limit=CONNECTIONS))
            self.carriers = [asyncio.create_task(self._carry()) for _ in range(CONNECTIONS)]
            self.stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; receipts still waiting are dropped, as when a provider goes down."""
        for carrier in self.carriers:
            carrier.cancel()
        await asyncio.gather(*self.carriers, return_exceptions=True)
        await self.stack.aclose()

    def post(self, path: str, body: dict[str, Any], *, delay: float) -> None:
        """Take a receipt to send after `delay` seconds; the delay is the same for all, so the queue is in order."""
        if self.web:
            self.queue.put_nowait(Receipt(path, body, asyncio.get_running_loop().time() + delay))

    async def _carry(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            receipt = await self.queue.get()
            if (early := receipt.due - clock()) > 0:
                await asyncio.sleep(early)
            if await self._deliver(receipt):
                self.sent += 1
                continue
            self.repeated += 1
            pause = min(FIRST_PAUSE * 2**receipt.tries, LONGEST_PAUSE)
            self.queue.put_nowait(Receipt(receipt.path, receipt.body, tries=min(receipt.tries + 1, 10)))
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret

    async def _deliver(self, receipt: Receipt) -> bool:
        """Try once. Returns whether it was taken."""
        try:
            async with self.session.post(
                self.web + receipt.path,
                headers=self.headers,
                allow_redirects=False,
                timeout=REQUEST_TIMEOUT,
                **receipt.body,
            ) as answer:
                await answer.read()
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
