"""The HTTP that SMS providers share: one message per POST, an answer in JSON, and what each kind of answer means."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from django.conf import settings

from providers.backends import Backend, Message, Outcome, Result, one_line, without_numbers

ANSWER_BYTES_LIMIT = 64 * 1024  # of an answer, read; an honest one is a few hundred bytes
REASON_LENGTH = 200
RETRY_AFTER_LIMIT = 86_400.0  # seconds; a longer wait is a mistake, and could not be added to a date
# Our credentials, our pace or our address are at fault, not the message (RFC 9110 §15.5, RFC 6585 §4).
NOT_THE_MESSAGE = {401, 403, 407, 408, 421, 425, 429}
# A gateway answers for a provider behind it that had the request and was not heard out (RFC 9110 §15.6.3 and §15.6.5;
# Cloudflare's own 520 and 524). Unless the words are the provider's, nobody knows whether it took the message.
UNHEARD = {502, 504, 520, 524}
WRONG_ADDRESS = {404, 405}  # unless the provider says in its own format what it minds


class HttpBackend(Backend):
    """A provider that takes one message per POST and answers in JSON.

    config: url (default: the provider's own), api_key, and optionally sender, receipt_url, timeout (seconds).
    """

    default_url = ""

    def __init__(self, config: Mapping[str, str]) -> None:
        super().__init__(config)
        self.url = config.get("url") or self.default_url
        self.api_key = (config.get("api_key") or "").strip()
        self.sender = config.get("sender") or ""
        self.receipt_url = config.get("receipt_url") or ""
        self.timeout = float(config.get("timeout") or settings.PROVIDER_REQUEST_TIMEOUT.total_seconds())
        self.problem = self._problem()

    def request(self, message: Message) -> dict[str, Any]:
        """Build the arguments of the POST."""
        raise NotImplementedError

    def taken(self, answer: Any) -> Result:
        """Judge the JSON of a 2xx answer."""
        raise NotImplementedError

    def words(self, answer: Any) -> str:
        """Find the provider's own error in its JSON; empty when there is none."""
        raise NotImplementedError

    async def send(self, session: aiohttp.ClientSession, message: Message) -> Result:
        """Hand one message over within `timeout` seconds by the wall clock, following no redirect.

        Connecting gets half of the time: then a time-out while connecting is told from one while waiting for the
        answer. aiohttp repeats no POST by itself, not even on a connection it kept open.
        """
        if self.problem:
            return Result(Outcome.TRY_LATER, self.problem)
        limits = aiohttp.ClientTimeout(total=self.timeout, connect=self.timeout / 2, ceil_threshold=2 * self.timeout)
        try:
            request = self.request(message)
            async with session.post(self.url, allow_redirects=False, timeout=limits, **request) as answer:
                result = await self._judge(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Result(Outcome.TRY_LATER, "no connection could be made")
        except (ValueError, aiohttp.NonHttpUrlClientError):  # raised while the request is built
            return Result(Outcome.TRY_LATER, "the provider's url or api_key cannot be used")
        except TimeoutError:
            return Result(Outcome.UNKNOWN, f"no answer within {self.timeout:g} seconds")
        except (aiohttp.ClientError, OSError):
            return Result(Outcome.UNKNOWN, "the line was cut before an answer came")
        return Result(result.outcome, _safe(result.reason, message), result.provider_reference, result.retry_after)

    def _problem(self) -> str:
        """Name what is missing or wrong in the configuration."""
        if not self.api_key:
            return "its configuration has no API key"
        if not self.api_key.isprintable():
            return "its API key cannot be sent"
        try:
            url = urlsplit(self.url)
        except ValueError:
            return "its URL is no web address"
        return "" if url.scheme in ("http", "https") and url.hostname else "its URL is no web address"

    async def _judge(self, answer: aiohttp.ClientResponse) -> Result:
        """Turn an answer into a result; its reason is still raw."""
        status = answer.status
        if 300 <= status < 400:
            return Result(Outcome.TRY_LATER, "answered with a redirect")
        if 200 <= status < 300:
            read = _json(await _read(answer))
            return Result(Outcome.UNKNOWN, "answered, but not in its own format") if read is None else self.taken(read)
        try:
            read = _json(await _read(answer))
        except (aiohttp.ClientError, TimeoutError, OSError):
            read = None  # the status alone says enough
        words = self.words(read) if read is not None else ""
        later = status >= 500 or status in NOT_THE_MESSAGE or (status in WRONG_ADDRESS and not words)
        reason = f"answered {status}: {words}" if words else f"answered {status}"
        if status in UNHEARD and not words:
            return Result(Outcome.UNKNOWN, f"a gateway answered {status}")
        if later:
            return Result(Outcome.TRY_LATER, reason, retry_after=_retry_after(answer))
        return Result(Outcome.REFUSED, reason)


def _safe(reason: str, message: Message) -> str:
    """Keep recipient and body out of the provider's words: long numbers, and any eight characters the body has too."""
    line, body = without_numbers(reason, REASON_LENGTH), one_line(message.body, len(message.body))
    size = min(8, len(body))
    pieces = {body[start : start + size] for start in range(len(body) - size + 1)} if size else set()
    hidden = {
        place
        for start in range(len(line) - size + 1)
        if line[start : start + size] in pieces
        for place in range(start, start + size)
    }
    return "".join("…" if place in hidden else char for place, char in enumerate(line))


def _json(body: bytes) -> Any:
    """Read JSON; None when it is none, or too long."""
    try:
        return json.loads(body) if len(body) <= ANSWER_BYTES_LIMIT else None
    except (ValueError, RecursionError):
        return None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Read an answer, at most one chunk past the limit."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_LIMIT:
            break
    return bytes(body)


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """Read the provider's own wait (RFC 9110 §10.2.3: seconds, or a date) as seconds from now; None without one."""
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,20}", text):
        return min(float(text), RETRY_AFTER_LIMIT)
    try:
        until = parsedate_to_datetime(text)
        now = datetime.now(UTC) if until.tzinfo else datetime.now(UTC).replace(tzinfo=None)
        return min(max((until - now).total_seconds(), 0.0), RETRY_AFTER_LIMIT)
    except (ValueError, OverflowError):
        return None
