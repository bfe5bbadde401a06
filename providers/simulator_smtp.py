"""The simulator's mail server: takes emails as an email provider does, with the same chances as the other desks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from email import message_from_bytes
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

BYTES_LIMIT = 10_000_000  # of one email
ANSWERS = {
    "accepted": "250 2.0.0 OK",
    "cut": "250 2.0.0 OK",  # nobody hears it
    "garbled": "no number, no sense",
    "refused": "550 5.1.1 Mailbox unavailable",
    "try-later": "451 4.3.0 Busy, try again later",
}


def postmark_body(reference: str, recipient: str, status: str, at: datetime) -> dict[str, Any]:
    """Write a delivery webhook as Postmark does. at: aware."""
    moment = at.isoformat(timespec="seconds")
    same = {"MessageID": reference, "Metadata": {"notification_id": reference}, "Tag": ""}
    if status == "delivered":
        return {"json": same | {"RecordType": "Delivery", "Recipient": recipient, "DeliveredAt": moment}}
    kind = "HardBounce" if status == "permanent-failure" else "SoftBounce"
    return {"json": same | {"RecordType": "Bounce", "Type": kind, "Email": recipient, "BouncedAt": moment}}


class MailDesk:
    """What aiosmtpd calls for each email. simulator: decides, writes the ledger and sends receipts."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Let chance choose what becomes of one email, when all of it is here."""
        reference = str(message_from_bytes(envelope.content or b"").get("X-Notification-Id", ""))
        simulator, options, recipient = self.simulator, self.simulator.options, envelope.rcpt_tos[0]
        fate = simulator.choose(options.answers, otherwise="accepted")
        simulator.enter(reference, "email", fate)
        simulator.report(
            fate, lambda status, at: ("/receipts/email/postmark/", postmark_body(reference, recipient, status, at))
        )
        if fate in ("hung", "dripped"):
            await asyncio.Event().wait()  # until the caller leaves, or the simulator stops
        await asyncio.sleep(options.answer_delay)
        if fate == "cut" and server.transport:
            server.transport.abort()
        return ANSWERS[fate]


@asynccontextmanager
async def mail_server(simulator: Any, host: str, port: int) -> AsyncIterator[str]:
    """Listen until the block ends; gives host:port. Raises OSError for an address it cannot have."""
    loop = asyncio.get_running_loop()
    desk = MailDesk(simulator)
    server = await loop.create_server(
        lambda: SMTP(desk, hostname="simulator", data_size_limit=BYTES_LIMIT, enable_SMTPUTF8=True, loop=loop),
        host,
        port,
        backlog=1024,
    )
    try:
        found, number = server.sockets[0].getsockname()[:2]
        yield f"[{found}]:{number}" if ":" in found else f"{found}:{number}"
    finally:
        server.close()
