"""The HTTP request of a callback: bearer token, Standard Webhooks signature, hard limits on time and size."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from django.conf import settings
from standardwebhooks.webhooks import Webhook

READ_LIMIT = 64_000  # bytes of an answer that are read; the status decides


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status code, or 0 with the error where nothing did."""

    status_code: int
    error: str = ""
    retry_after: float | None = None  # seconds


def session() -> aiohttp.ClientSession:
    """Return a session for callbacks: no environment proxies, no decompression, bounded connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=settings.CALLBACK_CONCURRENCY),
        timeout=aiohttp.ClientTimeout(
            total=settings.CALLBACK_REQUEST_TIMEOUT.total_seconds(),
            sock_connect=settings.CALLBACK_CONNECT_TIMEOUT.total_seconds(),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),  # nothing one receiver sets reaches another
        auto_decompress=False,
        trust_env=False,
    )


async def post(
    client: aiohttp.ClientSession, *, key: str, opened: dict[str, Any], secrets: list[str], now: datetime
) -> Answer:
    """Send one callback. Never raises: whatever goes wrong is an Answer with status 0 and the kind of error.

    key: constant over tries, so that the receiver can recognise a repeat. opened: url, token and body.
    secrets: Standard Webhooks secrets, up to two during a change. now: aware UTC, the signed timestamp.
    """
    body = json.dumps(opened["body"], ensure_ascii=False)
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {opened['token']}",
        "webhook-id": key,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if secrets:
        headers["webhook-signature"] = " ".join(Webhook(secret).sign(key, now, body) for secret in secrets)
    try:
        async with client.post(opened["url"], data=body.encode(), headers=headers, allow_redirects=False) as answer:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):  # the status is there and decides
                await answer.content.read(READ_LIMIT)
            return Answer(answer.status, retry_after=_retry_after(answer.headers.get("Retry-After", ""), now=now))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(0, type(error).__name__)


def _retry_after(header: str, *, now: datetime) -> float | None:
    """Read Retry-After, seconds or an HTTP date, as seconds from now; with anything else the ladder of tries holds."""
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return None
