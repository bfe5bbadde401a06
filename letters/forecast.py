"""Which letters go with the next print run as things stand, and which do not and why."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Case, CharField, Count, Min, Q, QuerySet, Value, When

from letters.models import Letter, PrintRun
from notify.clock import local_date, newest_print_day, print_deadline
from notify.models import Notification, NotificationType
from providers.models import Pause

GOES, OVERDUE, PACKED = "goes", "overdue", "packed"
FIRST = {
    OVERDUE: "belong to an earlier run that is not finished",
    PACKED: "packed in zips that are not handed over yet",
}
# In the order in which they are asked: each letter is counted under the first that fits.
REASONS = {
    "stuck": "packed in a zip that waits for a PDF that could not be read",
    "unreadable": "PDF could not be read; with the first run that can",
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
    unfinished: tuple[date, ...] = ()  # earlier days whose run is not finished, oldest first
    overdue: Part | None = None  # letters which those runs take first
    packed: Part | None = None  # letters in zips of any run, which go before all others

    @property
    def left(self) -> int:
        """How many letters stay behind."""
        return sum(part.count for part in self.stays)


def forecast(*, now: datetime) -> Forecast:
    """Look at every letter that was not handed over yet. now: aware UTC.

    The next run is today's (local) until it is finished, then tomorrow's. What earlier days' unfinished runs still
    take is counted apart, and so is what lies packed in zips that were not handed over.
    """
    today = local_date(now)
    done = PrintRun.objects.filter(day=today, finished_at__isnull=False).exists()
    day = today + timedelta(days=done)
    begun, missed = _unfinished(day, now)
    behind = sorted([*begun, *missed])
    sorted_out = _waiting(print_deadline(day), print_deadline(behind[-1]) if behind else None)
    found = {
        reason: (count, oldest)
        for reason, count, oldest in sorted_out.order_by()
        .values_list("reason")
        .annotate(count=Count("pk"), oldest=Min("created_at"))
    }
    parts = {
        reason: Part(reason, words, *found[reason], keys=_first(sorted_out.filter(reason=reason)))
        for reason, words in (FIRST | REASONS).items()
        if reason in found
    }
    return Forecast(
        day=day, deadline=print_deadline(day), goes=found.get(GOES, (0, None))[0],
        stays=tuple(parts[reason] for reason in REASONS if reason in parts), paused=Pause.objects.on().exists(),
        unfinished=tuple(behind if OVERDUE in parts else begun), overdue=parts.get(OVERDUE), packed=parts.get(PACKED),
    )  # fmt: skip


def _unfinished(day: date, now: datetime) -> tuple[list[date], list[date]]:
    """Return the days before `day` whose run was begun and not finished, and that whose run is due and not begun."""
    begun = PrintRun.objects.filter(day__lt=day, finished_at__isnull=True).order_by("day")
    due = newest_print_day(now)
    missed = due < day and not PrintRun.objects.filter(day=due).exists()
    return list(begun.values_list("day", flat=True)), [due] if missed else []


def _waiting(deadline: datetime, earlier: datetime | None) -> QuerySet[Notification]:
    """Return the messages that are to be printed, each with the reason why it is not, or that it goes.

    earlier: the deadline of the newest earlier run that is not finished, if any.
    """
    unreadable = Letter.objects.unreadable().order_by()
    when = [
        When(letter__print_file__in=unreadable.exclude(print_file=None).values("print_file"), then=Value("stuck")),
        When(letter__print_file__isnull=False, then=Value(PACKED)),
        When(pk__in=unreadable.printable(deadline).values("pk"), then=Value("unreadable")),
    ]
    if earlier:
        when.append(When(pk__in=Letter.objects.printable(earlier).values("pk"), then=Value(OVERDUE)))
    when += [
        When(pk__in=Letter.objects.printable(deadline).values("pk"), then=Value(GOES)),
        When(created_at__gte=deadline, then=Value("late")),
        When(status=Notification.Status.PENDING_VIRUS_CHECK, then=Value("scan")),
        When(service__active=False, then=Value("off")),
        When(service__letter_hold__isnull=False, then=Value("held")),
        When(Q(letter__isnull=True) | Q(letter__pdf=""), then=Value("no pdf")),
    ]
    statuses = (Notification.Status.CREATED, Notification.Status.PENDING_VIRUS_CHECK)
    waiting = Notification.objects.filter(notification_type=NotificationType.LETTER, status__in=statuses)
    return waiting.annotate(reason=Case(*when, default=Value("other"), output_field=CharField()))


def _first(rows: QuerySet[Notification]) -> tuple[str, ...]:
    return tuple(str(pk) for pk in rows.order_by("created_at").values_list("pk", flat=True)[:KEYS_NAMED])
