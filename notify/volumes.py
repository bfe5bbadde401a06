"""Volumes: the stored totals by day, service and channel, added up by the database.

* messages: everything that was made on a local day; each is delivered, sent (nobody reports more), failed, on the way
  when it was counted, or not sent (invalid, cancelled, infected).
* delivery rate: delivered ÷ (delivered + failed, a returned letter being failed). Left out is what nobody reports on,
  what is still on the way and what was not sent.
* within ten seconds: SMS and email handed over within ten seconds of being made ÷ all that went out or failed to
  (all but `totals.NEVER_SENT`). Letters leave by the print run and have no such share.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self
from uuid import UUID

from django.db.models import IntegerField, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce

from notify.export import stream
from notify.models import DailyTotal, Notification, NotificationType
from notify.totals import NEVER_SENT, UNSETTLED

Status = Notification.Status
FAILED = (Status.PERMANENT_FAILURE, Status.TEMPORARY_FAILURE, Status.TECHNICAL_FAILURE, Status.RETURNED_LETTER)
NOT_SENT = (Status.VALIDATION_FAILED, Status.VIRUS_SCAN_FAILED, Status.CANCELLED)
WENT_OUT = tuple(status for status in Status if status not in NEVER_SENT)
LINES_SHOWN = 300  # of days, services and channels on one page; the CSV has all
CHUNK = 2_000  # totals in memory while CSV is written
_PARTS: dict[str, Sequence[str]] = {
    "delivered": [Status.DELIVERED], "sent": [Status.SENT], "failed": FAILED, "on_the_way": UNSETTLED,
    "not_sent": NOT_SENT, "went_out": WENT_OUT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """What is looked at. first and last: local days, both included; no service or channel: all of them."""

    first: date
    last: date
    service: UUID | None = None
    channel: str = ""

    def totals(self) -> QuerySet[DailyTotal]:
        """Return the stored totals, in no order."""
        found = DailyTotal.objects.filter(day__gte=self.first, day__lte=self.last).order_by()
        found = found.filter(service=self.service) if self.service else found
        return found.filter(notification_type=self.channel) if self.channel else found


@dataclass(frozen=True, slots=True)
class Counted:
    """Messages added up; the shares are 0 to 1, None where there is nothing to divide by.

    went_out, quick: of SMS and email only.
    """

    delivered: int = 0
    sent: int = 0
    failed: int = 0
    on_the_way: int = 0
    not_sent: int = 0
    went_out: int = 0
    quick: int = 0

    def __add__(self, other: Self) -> "Counted":
        return Counted(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def messages(self) -> int:
        """All that were made."""
        return self.delivered + self.sent + self.failed + self.on_the_way + self.not_sent

    @property
    def delivery_rate(self) -> float | None:
        """Delivered ÷ (delivered + failed)."""
        return self.delivered / (self.delivered + self.failed) if self.delivered + self.failed else None

    @property
    def quick_share(self) -> float | None:
        """Handed over within ten seconds ÷ all that went out or failed to."""
        return min(1.0, self.quick / self.went_out) if self.went_out else None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: what it is about, and its sums."""

    counted: Counted
    channel: str
    day: date | None = None
    service: str = ""


def by_day_and_channel(period: Period) -> list[Line]:
    """Add up over services; the oldest day first."""
    return _added(period, "day", "notification_type")


def by_service_and_channel(period: Period) -> list[Line]:
    """Add up over days; by the service's name."""
    return _added(period, "service__name", "notification_type")


def by_day_and_service(period: Period) -> list[Line]:
    """Return one line per day, service and channel, newest day first; one more than LINES_SHOWN at most."""
    return _added(period, "-day", "service__name", "notification_type", limit=LINES_SHOWN + 1)


def added_up(lines: Sequence[Line]) -> Counted:
    """Add up the sums of some lines."""
    return sum((line.counted for line in lines), Counted())


def csv_lines(period: Period) -> Iterator[str]:
    """Yield one CSV line per day, service and channel, the oldest day first, with every status in its own column."""
    header = ["day", "service", "channel", "messages", *Status.values, "sent within ten seconds", "delivery rate",
              "share within ten seconds"]  # fmt: skip
    return stream(header, (_csv_row(total) for total in _in_order(period).iterator(chunk_size=CHUNK)))


def _in_order(period: Period) -> QuerySet[DailyTotal]:
    return period.totals().select_related("service").order_by("day", "service__name", "notification_type")


def _csv_row(total: DailyTotal) -> list[Any]:
    counts = total.counts
    parts = {name: sum(counts.get(status, 0) for status in statuses) for name, statuses in _PARTS.items()}
    counted = _of_channel(total.notification_type, parts | {"quick": total.sent_within_ten_seconds})
    shares = [None if share is None else f"{share:.4f}" for share in (counted.delivery_rate, counted.quick_share)]
    numbers = [counted.messages, *(counts.get(status, 0) for status in Status.values), counted.quick]
    return [total.day, total.service.name, NotificationType(total.notification_type).label, *numbers, *shares]


def _added(period: Period, *keys: str, limit: int | None = None) -> list[Line]:
    """Add the totals up in one query, grouped and sorted by these columns, one of which is the channel."""
    columns = [key.lstrip("-") for key in keys]
    sums = {f"sum_{name}": Sum(_counted(statuses)) for name, statuses in _PARTS.items()}
    sums["sum_quick"] = Sum("sent_within_ten_seconds")
    rows = period.totals().values(*columns).annotate(**sums).order_by(*keys)[:limit]
    return [
        Line(
            _of_channel(row["notification_type"], {name: row[f"sum_{name}"] for name in Counted.__slots__}),
            row["notification_type"],
            row.get("day"),
            row.get("service__name", ""),
        )
        for row in rows
    ]


def _of_channel(channel: str, numbers: dict[str, int]) -> Counted:
    """Return these sums; letters leave by the print run, so nothing is said of ten seconds."""
    by_loop = channel in Notification.SENT_BY_LOOP
    return Counted(**(numbers if by_loop else numbers | {"went_out": 0, "quick": 0}))


def _counted(statuses: Sequence[str]) -> Any:
    """Return the expression that adds up these statuses of one total."""
    first, *others = (Coalesce(Cast(KeyTextTransform(status, "counts"), IntegerField()), 0) for status in statuses)
    return sum(others, first)
