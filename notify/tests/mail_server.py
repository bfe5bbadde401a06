"""A mail server on localhost, in a thread of its own, that behaves as it is told."""

import asyncio
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


class MailServer:
    """`with MailServer() as server:` listens on server.port; server.emails is what arrived, in order.

    answer: to every email; `hang` never answers. greets: False takes connections and says nothing.
    """

    def __init__(self, *, answer: str = "250 2.0.0 OK", greets: bool = True, port: int = 0) -> None:
        self.answer, self.greets, self.port = answer, greets, port
        self.emails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.connections = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "MailServer":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take one email."""
        if self.answer == "hang":
            await asyncio.sleep(30)
        if self.answer.startswith("250"):
            self.emails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients.append(envelope.rcpt_tos)
        return self.answer

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def _protocol(self) -> asyncio.BaseProtocol:
        self.connections += 1
        if not self.greets:
            return asyncio.Protocol()
        return SMTP(self, hostname="localhost", enable_SMTPUTF8=True, loop=self._loop)
