"""The two ways an alert leaves: an email by Django's email backend, and a POST to a webhook.

Each call is one try with one answer. What comes back is never trusted: no redirect is followed, no body is read, and
errors are named by their kind, since their text may hold addresses or the webhook's secret.
"""

import asyncio
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr, parsedate_to_datetime

import aiohttp
from anymail.exceptions import AnymailError
from django.conf import settings
from django.core.mail import EmailMultiAlternatives

from notify.telling_words import Words

TIMEOUT = 10  # seconds, wall clock, per request


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try: told, or the kind of error. retry_after: seconds, where the receiver asked for them."""

    error: str = ""
    retry_after: float = 0.0

    @property
    def told(self) -> bool:
        """Whether it arrived."""
        return not self.error


def by_email(words: Words) -> Answer:
    """Send one email to all of ALERT_EMAILS. Its Message-ID is the same over tries, so that a repeat can be seen."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "notify.invalid"
    email = EmailMultiAlternatives(
        words.subject,
        words.plain,
        to=settings.ALERT_EMAILS,
        headers={"Message-ID": f"<alert-{words.key}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    email.attach_alternative(words.html, "text/html")
    try:
        email.send()
    except smtplib.SMTPResponseException as error:
        return Answer(f"{type(error).__name__} {error.smtp_code}")
    except (smtplib.SMTPException, AnymailError, OSError) as error:
        return Answer(type(error).__name__)
    return Answer()


def by_webhook(words: Words) -> Answer:
    """POST one alert to ALERT_WEBHOOK_URL; any 2xx is success."""
    try:
        return asyncio.run(_post(settings.ALERT_WEBHOOK_URL, {"text": words.webhook}))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:  # ValueError: an address that is none
        return Answer(type(error).__name__)


CHANNELS: dict[str, Callable[[Words], Answer]] = {"webhook": by_webhook, "email": by_email}


async def _post(url: str, body: dict[str, str]) -> Answer:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session,
        session.post(url, json=body, allow_redirects=False) as answer,
    ):
        if 200 <= answer.status < 300:
            return Answer()
        return Answer(f"answered {answer.status}", _seconds(answer.headers.get("Retry-After", "")))


def _seconds(header: str) -> float:
    """Read Retry-After, seconds or an HTTP date, as seconds from now; 0 for anything else."""
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return 0.0
