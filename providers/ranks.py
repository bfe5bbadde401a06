"""Which status a message has: the highest rank of what was reported and what we did ourselves, whatever the order.

Source: SMS receipts come late, twice and out of order; a `delivered` is the strongest thing a network can say, while
for email a bounce after acceptance is the truth.
"""

from collections.abc import Iterable
from typing import Protocol

from notify.models import Notification, NotificationType

TIMED_OUT = "timed-out"  # status_reason of our own time-out, which ranks below what a provider reports
UNCLEAR = "unclear-failure"  # Firetext status 1 without a known code
NEVER_LEFT = frozenset(
    {Notification.Status.CANCELLED, Notification.Status.VALIDATION_FAILED, Notification.Status.VIRUS_SCAN_FAILED}
)
_OWN = "own"  # our time-out, or our technical-failure
_SMS = ("created", "sending", "pending", "sent", _OWN, "temporary-failure", "permanent-failure", "delivered")
_EMAIL = ("created", "sending", "sent", _OWN, "temporary-failure", "delivered", "permanent-failure")
_LETTER = ("created", "sending", "sent", "technical-failure", "delivered", "returned-letter")
RANKS = {
    kind: {status: rank for rank, status in enumerate(order)}
    for kind, order in (
        (NotificationType.SMS.value, _SMS), (NotificationType.EMAIL.value, _EMAIL),
        (NotificationType.LETTER.value, _LETTER),
    )
}  # fmt: skip


class Judged(Protocol):
    """What the rule looks at: a notification, or only these columns of one."""

    @property
    def notification_type(self) -> str:
        """Its channel."""

    @property
    def status(self) -> str:
        """Its status."""

    @property
    def status_reason(self) -> str:
        """Why it has it."""


def strongest(notification_type: str, reported: Iterable[str]) -> str:
    """Return the status that the set of reports of one message adds up to; "" when none says anything.

    A Firetext failure without a known code is temporary where a `pending` report exists, before or after it, else
    permanent.
    """
    reports = set(reported)
    if UNCLEAR in reports:
        reports.remove(UNCLEAR)
        reports.add("temporary-failure" if "pending" in reports else "permanent-failure")
    ranks = RANKS[notification_type]
    known = [status for status in reports if status in ranks]
    return max(known, key=ranks.__getitem__, default="")


def verdict(notification: Judged, reported: Iterable[str]) -> str:
    """Return the status a message should have by its reports, or "" where it keeps what it has."""
    status = strongest(notification.notification_type, reported)
    if not status or status == notification.status or notification.status in NEVER_LEFT:
        return ""
    ranks = RANKS[notification.notification_type]
    own = _own_rank(notification)
    if own in ranks and ranks[own] >= ranks[status]:
        return ""
    return status


def _own_rank(notification: Judged) -> str:
    """Return the rank name of a status we gave ourselves; "" when it came from reports (they are all in the set)."""
    status = notification.status
    if status in ("created", "sending", "sent"):
        return status
    timed_out = status == "temporary-failure" and notification.status_reason.startswith(TIMED_OUT)
    if timed_out or status == "technical-failure":
        return status if notification.notification_type == NotificationType.LETTER else _OWN
    return ""
