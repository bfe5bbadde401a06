"""Firetext: forms in, JSON back. Formats and codes are from Firetext's API description for SMS and receipts."""

from typing import Any
from urllib.parse import parse_qsl

from providers.backends import (
    CODE_LENGTH,
    Message,
    Outcome,
    ReceiptProblem,
    Report,
    Result,
    decode,
    london_time,
    one_line,
    without_numbers,
)
from providers.backends.http import HttpBackend

FIELDS_LIMIT = 100  # of a receipt's form; a real one has five

STATUSES = {"0": "delivered", "1": "unclear-failure", "2": "pending"}
CAUSES = {  # what `code` says about a failure (status 1): how final it is, and why
    "000": ("temporary-failure", "no error reported"),
    "101": ("permanent-failure", "unknown subscriber"),
    "102": ("temporary-failure", "subscriber absent"),
    "103": ("temporary-failure", "subscriber busy"),
    "104": ("temporary-failure", "no memory left on the handset"),
    "201": ("permanent-failure", "invalid number"),
    "301": ("permanent-failure", "SMS is not supported"),
    "302": ("temporary-failure", "SMS is not supported at the moment"),
    "401": ("permanent-failure", "rejected"),
    "900": ("temporary-failure", "routing error"),
}


class Firetext(HttpBackend):
    """Firetext's SMS interface."""

    default_url = "https://www.firetext.co.uk/api/sendsms/json"

    def request(self, message: Message) -> dict[str, Any]:
        """Build the form; Firetext wants numbers without the plus."""
        form = {
            "apiKey": self.api_key,
            "from": message.sender or self.sender,
            "to": message.recipient.removeprefix("+"),
            "message": message.body,
            "reference": message.id,
        }
        if self.receipt_url:
            form["receipt"] = self.receipt_url
        return {"data": form}

    def taken(self, answer: Any) -> Result:
        """Take code 0 alone for a yes: Firetext refuses with HTTP 200 and another code."""
        code = str(answer.get("code")) if isinstance(answer, dict) else ""
        if not code.isdecimal():
            return Result(Outcome.UNKNOWN, "answered, but not in its own format")
        return Result(Outcome.REFUSED, self.words(answer)) if code.strip("0") else Result(Outcome.ACCEPTED)

    def words(self, answer: Any) -> str:
        """Read `{"code": 2, "description": "…"}`."""
        if not isinstance(answer, dict):
            return ""
        return ": ".join(str(answer[key])[:1000] for key in ("code", "description") if answer.get(key))

    def read_receipt(self, body: bytes, content_type: str) -> list[Report]:
        """Read one receipt: a form with status, reference and, where a message failed, code."""
        try:
            pairs = parse_qsl(decode(body).strip(), keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
        except ValueError:
            raise ReceiptProblem("RECEIPT_UNREADABLE") from None
        form = dict(pairs)
        if len(form) < len(pairs):
            raise ReceiptProblem("RECEIPT_AMBIGUOUS")
        reference = one_line(form.get("reference", ""), CODE_LENGTH)
        status, code = (without_numbers(form.get(key, ""), CODE_LENGTH) for key in ("status", "code"))
        if not reference or not status:
            raise ReceiptProblem("RECEIPT_UNREADABLE")
        outcome, reason = STATUSES.get(status, ""), ""
        if status == "1":
            outcome, reason = CAUSES.get(code, (outcome, ""))
        known = status in STATUSES
        return [
            Report(
                reference=reference,
                status=outcome,
                reason=reason,
                # An unknown status is alerted once per code: the detail would only multiply the alerts.
                code=f"{status}/{code}"[:CODE_LENGTH] if known and code else status,
                occurred_at=london_time(form.get("time", "")),
            )
        ]
