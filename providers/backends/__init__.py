"""How one provider talks: what a backend is given, what it answers, and what it reads from a receipt.

A backend never raises for what a provider does. Its answer is one of four outcomes, told apart by one question:
can the provider have taken the message? Nothing written to the socket, or a plain answer: no doubt. Silence or a cut
line after the request was written: UNKNOWN, because a second send costs money and patience.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import aiohttp
from django.utils.module_loading import import_string

LONDON = ZoneInfo("Europe/London")  # in whose wall-clock time both SMS providers report, wherever we are
CODE_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Message:
    """One message to hand over. id is our notification's, the client reference.

    recipient: an E.164 number, or an email address. sender: what the recipient sees; of an email, the name alone.
    subject, html and reply_to are of emails only.
    """

    id: str
    recipient: str
    body: str
    sender: str
    subject: str = ""
    html: str = ""
    reply_to: str = ""


class Outcome(StrEnum):
    """What became of a request. TRY_LATER: not taken, and the message is not at fault."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    TRY_LATER = "try-later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one message. reason never holds recipient or body; retry_after is in seconds, 0 to one day.

    begun: False where the provider was not asked at all, because we had no line free: it counts as no try.
    """

    outcome: Outcome
    reason: str = ""
    provider_reference: str = ""
    retry_after: float | None = None
    begun: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """One fact read from a receipt.

    status: `pending`, `delivered`, `temporary-failure`, `permanent-failure`, `unclear-failure` (the provider gives no
    known cause, so other receipts decide), or empty when its code is unknown. occurred_at: the provider's own time in
    UTC, None when missing or impossible. provider_reference: the provider's own id, where it does not repeat ours. A
    status that is no rank of the channel (`complaint`, `noted`) is recorded and changes nothing.
    An element of an array that cannot be read is a report without reference whose code is that of a ReceiptProblem.
    """

    reference: str
    status: str
    reason: str = ""
    code: str = ""
    occurred_at: datetime | None = None
    provider_reference: str = ""


class ReceiptProblem(Exception):
    """A body that is no receipt. code: RECEIPT_EMPTY, RECEIPT_AMBIGUOUS (a field twice) or RECEIPT_UNREADABLE."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Backend:
    """One provider, built from its decrypted configuration."""

    notification_type = "sms"
    problem = ""  # why it cannot send, as far as its configuration tells

    def __init__(self, config: Mapping[str, str]) -> None:
        self.config = config

    async def send(self, session: aiohttp.ClientSession, message: Message) -> Result:
        """Hand one message over."""
        raise NotImplementedError

    def read_receipt(self, body: bytes, content_type: str) -> list[Report]:
        """Read what the provider reported; Content-Type is not trusted. Raises ReceiptProblem."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what was held open between messages; called once, at the end of a loop."""


def load_backend(path: str, config: Mapping[str, str]) -> Backend:
    """Build the backend of a dotted path such as `providers.backends.mmg.MMG`. Raises ImportError for a wrong path."""
    backend: Backend = import_string(path)(config)
    return backend


def client_session(*, limit: int) -> aiohttp.ClientSession:
    """Open the one session of a loop: no proxies or netrc from the environment, no cookies, nothing unpacked.

    limit: connections at once. An idle connection is dropped before common servers drop it (Apache: 5 seconds): a
    request written just as the server hangs up would have an unknown outcome.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        trust_env=False,
        auto_decompress=False,
    )


def one_line(text: object, length: int) -> str:
    """Write a value in one line without control characters, at most `length` characters long."""
    line = str(text)
    if not line.isprintable():
        line = "".join(char if char.isprintable() else " " for char in line)
    return " ".join(line.split())[:length]


def without_numbers(text: object, length: int) -> str:
    """Write a value in one line, as one_line does, with anything that could be a phone number hidden."""
    return re.sub(r"\+?\d(?:[ ().-]*\d){6,}", "(number)", one_line(text, 4 * length))[:length]


def decode(body: bytes) -> str:
    """Read a receipt's bytes as UTF-8, else as Latin-1 (which never fails). Raises RECEIPT_EMPTY for blank ones."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    if not text.strip():
        raise ReceiptProblem("RECEIPT_EMPTY")
    return text


def london_time(text: object) -> datetime | None:
    """Turn a provider's `2026-07-01 09:30:00` (London wall clock) into UTC; None when it is no time of this century.

    An hour that comes twice (autumn) means its first. A zone written in the text wins over London.
    """
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    if not 2000 <= moment.year < 2100 or len(str(text).strip()) < len("2026-07-01 09:30"):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=LONDON, fold=0)).astimezone(UTC)
