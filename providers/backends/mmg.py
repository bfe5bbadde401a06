"""MMG: JSON both ways. Formats and codes are from MMG's API description for bulk SMS and delivery receipts."""

from typing import Any

from providers.backends import (
    CODE_LENGTH,
    Message,
    Outcome,
    ReceiptProblem,
    Report,
    Result,
    london_time,
    one_line,
    without_numbers,
)
from providers.backends.http import HttpBackend
from providers.backends.json_receipts import read_json

STATUSES = {"2": "permanent-failure", "3": "delivered", "4": "temporary-failure", "5": "permanent-failure"}
REASONS = {  # by status, then by substatus; one that is not here simply gives no reason
    "2": {
        "1": "no such number",
        "4": "rejected by the operator",
        "5": "subscriber not identified",
        "9": "undelivered",
        "11": "subscriber suspended",
        "12": "illegal equipment",
        "2049": "subscriber identity (IMSI) is blacklisted",
        "2050": "number is on a do-not-disturb list",
        "2052": "destination is blacklisted",
        "2053": "source is blacklisted",
    },
    "3": {"2": "delivered to the operator", "5": "delivered to the handset"},
    "4": {
        "6": "subscriber absent",
        "8": "roaming is barred",
        "13": "SMS is not supported",
        "15": "expired",
        "27": "subscriber absent",
        "29": "invalid delivery report",
        "32": "delivery failed",
    },
    "5": {
        "6": "out of coverage",
        "8": "bad prefix",
        "10": "number is on a do-not-disturb list",
        "11": "sender is not registered",
        "13": "sender is blacklisted",
        "14": "destination is blacklisted",
        "19": "no route",
        "20": "stopped as a flood",
        "21": "system error at the provider",
        "23": "message id was used before",
        "24": "bad format",
        "25": "too long",
        "51": "recipient is missing",
        "52": "destination is invalid",
    },
}


class MMG(HttpBackend):
    """MMG's bulk SMS interface."""

    default_url = "https://api.mmg.co.uk/jsonv2a/api.php"

    def request(self, message: Message) -> dict[str, Any]:
        """Build the POST; `multi` lets a long text travel in several parts."""
        body = {
            "reqType": "BULK",
            "MSISDN": message.recipient,
            "msg": message.body,
            "sender": message.sender or self.sender,
            "cid": message.id,
            "multi": True,
        }
        if self.receipt_url:
            body["delurl"] = self.receipt_url
        return {"json": body, "headers": {"Authorization": f"Basic {self.api_key}"}}

    def taken(self, answer: Any) -> Result:
        """Take any JSON with a 2xx status for a yes."""
        reference = answer.get("Reference", "") if isinstance(answer, dict) else ""
        return Result(Outcome.ACCEPTED, provider_reference=one_line(reference, CODE_LENGTH))

    def words(self, answer: Any) -> str:
        """Read `{"Error": 206, "Description": "…"}`."""
        if not isinstance(answer, dict):
            return ""
        return ": ".join(str(answer[key])[:1000] for key in ("Error", "Description") if answer.get(key))

    def read_receipt(self, body: bytes, content_type: str) -> list[Report]:
        """Read one receipt, or an array of them, in which a bad one does not stop the others."""
        return read_json(body, _report)


def _report(fields: dict[str, Any]) -> Report:
    """Read one receipt. Raises ReceiptProblem when CID or status is missing."""
    reference = one_line(_plain(fields.get("CID")), CODE_LENGTH)
    code, substatus = (without_numbers(_plain(fields.get(key)), CODE_LENGTH) for key in ("status", "substatus"))
    if not reference or not code:
        raise ReceiptProblem("RECEIPT_UNREADABLE")
    known = code in STATUSES
    return Report(
        reference=reference,
        status=STATUSES.get(code, ""),
        reason=REASONS.get(code, {}).get(substatus, ""),
        # An unknown status is alerted once per code: the substatus would only multiply the alerts.
        code=f"{code}/{substatus}"[:CODE_LENGTH] if known and substatus else code,
        occurred_at=london_time(fields.get("deliverytime", "")),
    )


def _plain(value: Any) -> str:
    """Take a number or a text, as MMG may send either; empty for anything else."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
