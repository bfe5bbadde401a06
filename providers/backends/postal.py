"""The postal provider: it prints and posts what the print run hands over, and reports in JSON what became of it."""

from datetime import UTC, datetime
from typing import Any

from providers.backends import (
    CODE_LENGTH,
    Backend,
    Message,
    Outcome,
    ReceiptProblem,
    Report,
    Result,
    one_line,
    without_numbers,
)
from providers.backends.json_receipts import read_json

STATUSES = {"despatched": "delivered", "rejected": "technical-failure", "returned": "returned-letter"}
REASONS = {"rejected": "rejected by the printer", "returned": "came back"}


class Postal(Backend):
    """Reads receipts only: letters leave by the print run.

    A receipt is `{"reference": our notification's id, "status": "despatched", "time": "2026-11-24T09:30:00Z"}`, or an
    array of them.
    """

    notification_type = "letter"

    async def send(self, session: Any, message: Message) -> Result:
        """Take nothing: a letter is no message of the sending loop."""
        return Result(Outcome.TRY_LATER, "letters leave by the print run")

    def read_receipt(self, body: bytes, content_type: str) -> list[Report]:
        """Read one receipt, or an array of them, in which a bad one does not stop the others."""
        return read_json(body, _report)


def _report(fields: dict[str, Any]) -> Report:
    """Read one receipt. Raises ReceiptProblem when reference or status is missing."""
    reference, status, time = (
        value if isinstance(value := fields.get(name), str) else "" for name in ("reference", "status", "time")
    )
    reference, code = one_line(reference, CODE_LENGTH), without_numbers(status, CODE_LENGTH).lower()
    if not reference or not code:
        raise ReceiptProblem("RECEIPT_UNREADABLE")
    return Report(
        reference=reference,
        status=STATUSES.get(code, ""),
        reason=REASONS.get(code, ""),
        code=code,
        occurred_at=_moment(time),
    )


def _moment(text: str) -> datetime | None:
    """Read an ISO time with its zone; None without one, because a local time could be any."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or not 2000 <= moment.year < 2100:
        return None
    return moment.astimezone(UTC)
