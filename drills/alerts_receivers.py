"""A mail server and a webhook receiver that can be away, in a thread of their own; they count what arrived."""

import asyncio
import json
import re
import socket
import threading
from collections import Counter
from email import message_from_bytes, policy
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

CHANNELS = ("webhook", "email")
_SCOPE = re.compile(r"drill \w+ \d+")


class Receivers:
    """`open` and `close` as often as wanted, on the same ports. delay: seconds from taking one to the answer."""

    def __init__(self) -> None:
        self.mail_port, self.hook_port = _free_ports(2)
        self.arrived: dict[str, Counter[str]] = {channel: Counter() for channel in CHANNELS}
        self.on_wire = 0
        self.delay = 0.0
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Forget what arrived."""
        for counter in self.arrived.values():
            counter.clear()
        self.delay = 0.0

    def open(self) -> None:
        """Listen."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("The receivers do not listen.")

    def close(self) -> None:
        """Be away; harmless when they are."""
        if self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Count one email."""
        subject = str(message_from_bytes(envelope.content or b"", policy=policy.default)["Subject"])
        await self._take("email", subject)
        return "250 2.0.0 OK"

    async def _hook(self, request: web.Request) -> web.Response:
        await self._take("webhook", json.loads(await request.text())["text"].splitlines()[0])
        return web.Response(text="ok")

    async def _take(self, channel: str, title: str) -> None:
        found = _SCOPE.search(title)
        self.arrived[channel][found[0] if found else title] += 1
        self.on_wire += 1
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.on_wire -= 1

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_post("/", self._hook)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.hook_port).start()
        mail = await self._loop.create_server(self._smtp, "127.0.0.1", self.mail_port)
        ready.set()
        await self._stop.wait()
        mail.close()
        await runner.cleanup()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def _smtp(self) -> Any:
        return SMTP(self, hostname="drill", enable_SMTPUTF8=True, loop=self._loop)


def _free_ports(number: int) -> list[int]:
    lines = [socket.socket() for _ in range(number)]
    try:
        for line in lines:
            line.bind(("127.0.0.1", 0))
        return [line.getsockname()[1] for line in lines]
    finally:
        for line in lines:
            line.close()
