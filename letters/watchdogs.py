"""What the periodic checks say about letters. They write alerts and repair nothing: a person decides what to print."""

from collections import Counter
from datetime import date, datetime, timedelta

from django.conf import settings
from django.core.files.storage import storages
from django.db.models import Min, QuerySet

from letters import files, postal, unrendered
from letters.acknowledgements import UNACKNOWLEDGED
from letters.models import Letter, PrintFile
from letters.print_files import WRONG_FILE
from letters.working_days import is_working_day, working_days_ago
from notify.alerts import close_alert, close_others, raise_alert
from notify.clock import local_date, local_midnight, print_deadline, zone
from notify.models import Notification, NotificationType
from providers.models import Provider

NOT_PRINTED, FAILED = "letters-not-printed", "letters-failed"
STILL_SENDING = "letters-still-sending"
ALL = "letters"  # the scope of alerts that speak of all of them
LOOKED_FOR = 100  # letters whose PDF is really looked for, oldest first
NAMED = 20  # zips or letters named one by one
Status = Notification.Status


def check_precompiled_letter_state(*, now: datetime) -> int:
    """Keep an alert open while letters wait for their virus check for longer than LETTER_SCAN_AFTER.

    now: the moment to judge by (aware, UTC). Returns how many wait. They are not repaired here: the scanning loop
    tries them all the time, so what holds them up is for a person.
    """
    kind, scope = "letters-pending-virus-check", "letters"
    waiting = Letter.objects.unscanned_long(now).select_related("notification")
    oldest, count = waiting.first(), waiting.count()
    if oldest is None:
        close_alert(kind, scope, now=now)
        return 0
    minutes = settings.LETTER_SCAN_AFTER.total_seconds() // 60
    letters = "1 letter has" if count == 1 else f"{count:,} letters have"
    raise_alert(
        kind,
        scope,
        f"{letters} been waiting for the virus check for over {minutes:.0f} minutes; the oldest is {oldest.pk}, made "
        f"{_moment(oldest.notification.created_at)} (last problem: {oldest.last_error or 'none noted'}). Their "
        f"files lie in the storage {files.SCAN}; they are tried again by themselves and were left as they are. See "
        f"that clamd runs, CLAMD_SOCKET names it and a worker reads the queue letters. See README, {kind}.",
        now=now,
    )
    return count


def check_templated_letter_state(*, now: datetime) -> dict[str, int]:
    """Keep alerts open for letters that should have been printed, and for those that failed and nobody has seen.

    Should have been printed: created, and made before the print deadline of yesterday (local). Not repaired, because
    the remedy depends on where the PDF lies. now: aware UTC. Returns how many of each.
    """
    return {"found": _check_not_printed(now=now), "failed": _check_failed(now=now)}


def check_still_sending(*, now: datetime) -> int:
    """Keep an alert open for letters sent on or before the date two working days ago that nobody reported on.

    On a day that is not worked nothing is looked at. A provider that sends no receipts is left out. Returns how many.
    """
    today = local_date(now)
    if not is_working_day(today):
        return 0
    until = working_days_ago(today, settings.LETTER_SENDING_WORKING_DAYS)
    late = _letters(Status.SENDING).filter(sent_at__lt=local_midnight(until + timedelta(days=1)))
    late = late.exclude(provider_name__in=Provider.objects.filter(receipts=False).values("identifier"))
    count, oldest = late.count(), late.aggregate(oldest=Min("sent_at"))["oldest"]
    if not count:
        close_alert(STILL_SENDING, ALL, now=now)
        return 0
    raise_alert(
        STILL_SENDING, ALL,
        f"{_counted(count)} in the 'sending' state from {_day(until)} (sent on that day or earlier, the oldest on "
        f"{_day(local_date(oldest))}), and the postal provider has not said what became of them. Ask it about the zips "
        f"of these days. See README, {STILL_SENDING}.", now=now,
    )  # fmt: skip
    return count


def check_print_files_acknowledged(*, now: datetime) -> int:
    """Keep an alert open for zips that were handed over and not acknowledged. Returns how many.

    A postal provider that sends no receipts, or none at all, is left out.
    """
    provider = postal.postal_provider()
    waiting = PrintFile.objects.unacknowledged()
    count = waiting.count() if provider is not None and provider.receipts else 0
    if not count:
        close_alert(UNACKNOWLEDGED, ALL, now=now)
        return 0
    names = ", ".join(waiting.values_list("name", flat=True)[:NAMED])
    raise_alert(
        UNACKNOWLEDGED, ALL,
        f"{count:,} {'zip was' if count == 1 else 'zips were'} handed to the postal provider and not acknowledged, the "
        f"oldest on {_moment(waiting[0].uploaded_at)}: {names}{' …' if count > NAMED else ''}. They lie in the storage "
        f"{files.POSTAL} unless the provider took them. Ask it. See README, {UNACKNOWLEDGED}.", now=now,
    )  # fmt: skip
    return count


def _check_not_printed(*, now: datetime) -> int:
    yesterday = local_date(now) - timedelta(days=1)
    late = _letters(Status.CREATED).filter(created_at__lt=print_deadline(yesterday))
    count, oldest = late.count(), late.aggregate(oldest=Min("created_at"))["oldest"]
    if not count:
        close_alert(NOT_PRINTED, ALL, now=now)
        return 0
    held = late.filter(service__letter_hold__isnull=False).count()
    off = late.filter(service__active=False).count()
    kept = [f"{held:,} held by hand"] * bool(held) + [f"{off:,} of services that are switched off"] * bool(off)
    raise_alert(
        NOT_PRINTED, ALL,
        f"{_counted(count)} made before {settings.LETTER_DEADLINE:%H:%M} on {_day(yesterday)} "
        f"{'is' if count == 1 else 'are'} not printed, the oldest from {_moment(oldest)}"
        f"{': ' + ', '.join(kept) if kept else ''}. {_places(late, count)} Nothing was done about them, because the "
        f"remedy depends on where the PDF lies; manage.py letters_forecast names them by reason. "
        f"See README, {NOT_PRINTED}.", now=now,
    )  # fmt: skip
    return count


def close_seen(*, now: datetime) -> int:
    """Close the alerts about failed letters of which a person has seen all. Returns how many letters nobody has seen.

    now: aware UTC.
    """
    unseen = Letter.objects.failed_unseen()
    wrong = unseen.filter(print_run__isnull=False).values_list("print_run__day", flat=True).distinct().order_by()
    close_others(WRONG_FILE, [f"print run {day}" for day in wrong], now=now)
    unrendered.close_seen(now=now)
    count = unseen.count()
    if not count:
        close_alert(FAILED, ALL, now=now)
    return count


def _check_failed(*, now: datetime) -> int:
    unseen = Letter.objects.failed_unseen().order_by("notification__created_at")
    count = close_seen(now=now)
    if not count:
        return 0
    keys = ", ".join(str(pk) for pk in unseen.values_list("pk", flat=True)[:NAMED])
    oldest = unseen.values_list("notification__created_at", flat=True)[0]
    raise_alert(
        FAILED, ALL,
        f"{_counted(count)} ended as technical-failure and nobody has seen it, the oldest from {_moment(oldest)}: "
        f"{keys}{' …' if count > NAMED else ''}. {_places(Notification.objects.filter(letter__in=unseen), count)} Look "
        f"at the reasons in the admin, send again what is needed, and choose “Mark failures as seen” on the list of "
        f"letters. See README, {FAILED}.", now=now,
    )  # fmt: skip
    return count


def _letters(status: str) -> QuerySet[Notification]:
    return Notification.objects.filter(notification_type=NotificationType.LETTER, status=status)


def _places(late: QuerySet[Notification], count: int) -> str:
    """Say where the PDFs of these messages really lie, oldest first."""
    looked = list(late.order_by("created_at").values_list("letter__pdf", flat=True)[:LOOKED_FOR])
    found = Counter(_place(name) for name in looked)
    where = ", ".join(f"{number:,} {place}" for place, number in found.most_common())
    return f"Of the {'oldest ' if count > len(looked) else ''}{len(looked):,}: {where}."


def _place(name: str | None) -> str:
    if not name:
        return "without a PDF yet"
    for alias in (files.PDF, files.SCAN, files.INVALID):
        try:
            if storages[alias].exists(name):
                return f"in the storage {alias}"
        except Exception as error:  # noqa: BLE001  (each storage has errors of its own; the alert matters more)
            return f"not looked up ({alias}: {type(error).__name__})"
    return "in none of the storages"


def _counted(count: int) -> str:
    return f"{count:,} {'letter' if count == 1 else 'letters'}"


def _day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B}"


def _moment(moment: datetime) -> str:
    return moment.astimezone(zone()).strftime("%d %b %Y, %H:%M %Z")
