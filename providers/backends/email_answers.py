"""What a failed hand-over of an email means: each backend raises classes of its own, and each has one of our outcomes.

One question decides: can the server have taken the message? A code of its own is an answer; silence after the message
was begun is none.
"""

import smtplib
from typing import Any

import requests
from anymail.exceptions import AnymailAPIError, AnymailRecipientsRefused

from providers.backends import Outcome, Result
from providers.backends.http import NOT_THE_MESSAGE, UNHEARD, WRONG_ADDRESS

TOO_LARGE = 552  # the one refusal of a sender's line that is about the message (RFC 1870 §6.1)


def later(reason: str) -> Result:
    """Return the answer for a message that was not taken and is not at fault."""
    return Result(Outcome.TRY_LATER, reason)


def judge(error: Exception) -> Result:
    """Turn what a backend raised, over an open connection, into a result; the server's words may name the recipient."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _by_code(max((code for code, _ in error.recipients.values()), default=0))
    if isinstance(error, smtplib.SMTPSenderRefused):
        # The sender is our configuration.
        code = error.smtp_code
        return _by_code(code) if code == TOO_LARGE else later(f"the sender was refused with {code}")
    if isinstance(error, smtplib.SMTPDataError):
        if not 400 <= error.smtp_code < 600:  # a line without a code, after the message: it may well be taken
            return Result(Outcome.UNKNOWN, "answered, but not in its own format")
        return _by_code(error.smtp_code)
    if isinstance(error, AnymailRecipientsRefused):
        return Result(Outcome.REFUSED, "the provider refused the recipient")
    if isinstance(error, AnymailAPIError):
        return _of_api(error)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Result(Outcome.REFUSED, "the server cannot carry this address")
    if isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPHeloError):
        return later("the server refused us before the message")
    if isinstance(error, ValueError):  # a header or an address that cannot be written
        return Result(Outcome.REFUSED, f"the email cannot be written ({type(error).__name__})")
    return Result(Outcome.UNKNOWN, f"the line was cut before an answer came ({type(error).__name__})")


def reference(mail: Any) -> str:
    """Return the provider's own id of a sent message, else its Message-ID."""
    status = getattr(mail, "anymail_status", None)
    found = getattr(status, "message_id", None) or mail.extra_headers["Message-ID"]
    return str(found)[:200]


def _by_code(code: int) -> Result:
    """Judge an SMTP code: 5xx is final, anything else passes (RFC 5321 §4.2.1)."""
    if 500 <= code < 600:
        return Result(Outcome.REFUSED, f"the mail server answered {code}")
    return later(f"the mail server answered {code}")


def _of_api(error: AnymailAPIError) -> Result:
    """Judge an HTTP interface by its status, else by how the request broke."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is None:
        if isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error.__cause__):
            return later("no connection could be made")
        return Result(Outcome.UNKNOWN, "the line was cut before an answer came")
    if 200 <= status < 300:
        return Result(Outcome.UNKNOWN, "answered, but not in its own format")
    if status in UNHEARD:
        return Result(Outcome.UNKNOWN, f"a gateway answered {status}")
    if status >= 500 or 300 <= status < 400 or status in NOT_THE_MESSAGE | WRONG_ADDRESS:
        wait = response.headers.get("Retry-After", "") if response is not None else ""
        seconds = min(float(wait), 86_400.0) if wait.isdecimal() and len(wait) < 10 else None
        return Result(Outcome.TRY_LATER, f"answered {status}", retry_after=seconds)
    return Result(Outcome.REFUSED, f"answered {status}")
