"""Which letters go with the next print run as things stand, and which do not and why."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Case, CharField, Count, Min, Q, QuerySet, Value, When

from letters.models import Letter, PrintRun
from notify.clock import local_date, newest_print_day, print_deadline
from notify.models import Notification, NotificationType
from providers.models import Pause

GOES, OVERDUE = "goes", "overdue"
# In the order in which they are asked: each letter is counted under the first that fits.
REASONS = {
    "late": "made after the deadline: with the next run",
    "scan": "waiting for the virus check",
    "off": "its service is switched off",
    "held": "held by hand",
    "no pdf": "no PDF yet",
    "other": "its PDF is not the one that was found clean",
}
KEYS_NAMED = 10


@dataclass(frozen=True)
class Part:
    """Letters that stay behind for one reason: how many, the oldest one's making (UTC), and the first keys."""

    reason: str
    words: str
    count: int
    oldest: datetime
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """What the print run of one local day will take, as things stand, and what it will leave."""

    day: date
    deadline: datetime
    goes: int
    stays: tuple[Part, ...]
    paused: bool
    overdue_day: date | None = None
    overdue: Part | None = None  # letters of an earlier day's run that is not finished: it takes them first

    @property
    def left(self) -> int:
        """How many letters stay behind."""
        return sum(part.count for part in self.stays)


def forecast(*, now: datetime) -> Forecast:
    """Look at every letter that is not printed yet. now: aware UTC.

    The next run is today's (local) until it is finished, then tomorrow's. What an earlier day's unfinished run still
    takes is counted apart.
    """
    today = local_date(now)
    done = PrintRun.objects.filter(day=today, finished_at__isnull=False).exists()
    day = today + timedelta(days=done)
    deadline = print_deadline(day)
    earlier = newest_print_day(now)
    unfinished = earlier < today and not PrintRun.objects.filter(day=earlier, finished_at__isnull=False).exists()
    sorted_out = _waiting(deadline, print_deadline(earlier) if unfinished else None)
    found = {
        reason: (count, oldest)
        for reason, count, oldest in sorted_out.order_by()
        .values_list("reason")
        .annotate(count=Count("pk"), oldest=Min("created_at"))
    }
    stays = tuple(
        Part(reason, words, *found[reason], keys=_first(sorted_out.filter(reason=reason)))
        for reason, words in REASONS.items()
        if reason in found
    )
    overdue = None
    if OVERDUE in found:
        words = "belong to an earlier run that is not finished"
        overdue = Part(OVERDUE, words, *found[OVERDUE], keys=_first(sorted_out.filter(reason=OVERDUE)))
    goes = found.get(GOES, (0, None))[0]
    return Forecast(day, deadline, goes, stays, Pause.objects.on().exists(), earlier if overdue else None, overdue)


def _waiting(deadline: datetime, earlier: datetime | None) -> QuerySet[Notification]:
    """Return the messages that are to be printed, each with the reason why it is not, or that it goes."""
    when = [When(pk__in=Letter.objects.printable(earlier).values("pk"), then=Value(OVERDUE))] if earlier else []
    when += [
        When(pk__in=Letter.objects.printable(deadline).values("pk"), then=Value(GOES)),
        When(created_at__gte=deadline, then=Value("late")),
        When(status=Notification.Status.PENDING_VIRUS_CHECK, then=Value("scan")),
        When(service__active=False, then=Value("off")),
        When(service__letter_hold__isnull=False, then=Value("held")),
        When(Q(letter__isnull=True) | Q(letter__pdf=""), then=Value("no pdf")),
    ]
    statuses = (Notification.Status.CREATED, Notification.Status.PENDING_VIRUS_CHECK)
    waiting = Notification.objects.filter(
        notification_type=NotificationType.LETTER, status__in=statuses, letter__print_file__isnull=True
    )
    return waiting.annotate(reason=Case(*when, default=Value("other"), output_field=CharField()))


def _first(rows: QuerySet[Notification]) -> tuple[str, ...]:
    return tuple(str(pk) for pk in rows.order_by("created_at").values_list("pk", flat=True)[:KEYS_NAMED])
