"""A receiver of callbacks on localhost, in a thread of its own, that behaves as the path says."""

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: str
    at: float  # monotonic


class Receiver:
    """`with Receiver() as receiver:` listens; `receiver.url("500")` is an address that answers so."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.on_wire = self.most = self.port = 0
        self.answers: dict[str, dict[str, Any]] = {}  # path: keywords of web.Response
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def paths(self) -> list[str]:
        return [request.path for request in self.received]

    def __enter__(self) -> "Receiver":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A client that hung up is no longer on the wire.
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        body = await request.text()
        self.received.append(Received(path, dict(request.headers), body, time.monotonic()))
        self.on_wire += 1
        self.most = max(self.most, self.on_wire)
        try:
            return await self._answer(path, request)
        finally:
            self.on_wire -= 1

    async def _answer(self, path: str, request: web.Request) -> web.StreamResponse:
        if path in self.answers:
            return web.Response(**self.answers[path])
        if path == "hang":
            await asyncio.sleep(30)
        if path == "cut":
            request.transport.abort()
        if path == "slow":
            await asyncio.sleep(0.05)
        if path in ("drip", "cut-body"):
            response = web.StreamResponse(headers={"Content-Length": "100"} if path == "cut-body" else {})
            await response.prepare(request)
            if path == "cut-body":
                request.transport.abort()
            await asyncio.sleep(30)
        return web.Response(status=int(path) if path.isdigit() else 204)
