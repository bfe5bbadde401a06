"""What people are told about virus checks, and when it is taken back."""

from datetime import datetime
from uuid import UUID

from letters.models import Letter
from notify.alerts import close_alert, close_gone, raise_alert
from notify.models import Alert, Service

AWAY, VIRUS, MISSING, CHANGED = "virus-scanner-away", "virus-found", "letter-file-missing", "letter-file-changed"
SCANNER = "scanner"
DECLINED, FILE_MISSING = "SCANNER: ", "FILE_MISSING: "  # how a letter's last_error begins


def scope_of(key: UUID) -> str:
    """Return the scope of an alert about one letter."""
    return f"letter {key}"


def alert_virus(key: UUID, service: Service, virus: str, *, now: datetime) -> None:
    """Say that a file is infected. Its name is on the letter's page: it may name a person, and alerts travel."""
    raise_alert(
        VIRUS,
        scope_of(key),
        f"The PDF of letter {key} of {service} is infected ({virus}). It was moved to letters-invalid, will not be "
        "printed, and the service is told by callback. Look at the letter in the admin for the file's name, and ask "
        f"the service where it came from. See README, {VIRUS}.",
        now=now,
    )


def alert_virus_in_refused(key: UUID, service: Service, virus: str, *, now: datetime) -> None:
    """Say that a file is infected that was refused for another reason before the scanner could be asked."""
    raise_alert(
        VIRUS,
        scope_of(key),
        f"The PDF of letter {key} of {service} is infected ({virus}). It was refused for another reason while no "
        "scanner could be asked: it lies in letters-invalid since then and is not printed. The letter stays "
        "validation-failed, and the service was told of that reason alone: tell it of the virus, ask where the file "
        f"came from, and let nobody open it. See README, {VIRUS}.",
        now=now,
    )


def alert_missing(key: UUID, *, now: datetime) -> None:
    """Say that the file of a letter to be scanned is not there."""
    raise_alert(
        MISSING,
        scope_of(key),
        f"The PDF of letter {key} is not in the storage letters-scan, so it can be neither scanned nor printed. It is "
        "looked for again every few minutes. Bring the file back, or cancel the letter and have it uploaded again. "
        f"See README, {MISSING}.",
        now=now,
    )


def alert_changed(key: UUID, what: str, *, now: datetime) -> None:
    """Say that somebody replaced a file after it was uploaded. what: was done about it."""
    raise_alert(
        CHANGED,
        scope_of(key),
        f"The PDF of letter {key} in letters-scan is not the one that was uploaded. {what} Find out who may write to "
        f"that storage. See README, {CHANGED}.",
        now=now,
    )


def tend_alerts(*, trouble: str, now: datetime) -> None:
    """Open or close the alert about the scanner, and close those about letters that need nothing any more.

    trouble: why the scanner as a whole is of no use, or "". Nothing is said while no letter waits.
    """
    waiting = Letter.objects.unscanned().select_related("notification")
    failed = waiting.filter(last_error__startswith=DECLINED).order_by("due_at").first()
    reason = trouble or (failed.last_error.removeprefix(DECLINED) if failed else "")
    count = waiting.count() if reason else 0
    if count:
        _say_away(count, reason, now=now)
    else:
        close_alert(AWAY, SCANNER, now=now)
    missing = waiting.filter(last_error__startswith=FILE_MISSING).values_list("pk", flat=True)
    close_gone(MISSING, lambda: map(scope_of, missing.all()), now=now)
    for kind in (VIRUS, CHANGED):
        close_gone(kind, lambda kind=kind: _of_letters_kept(kind), now=now)


def _say_away(count: int, reason: str, *, now: datetime) -> None:
    """Say it once, and again only in other words: the loop comes by every minute."""
    wait = "1 letter waits" if count == 1 else f"{count:,} letters wait"
    text = f"Not scanned for viruses: {reason}."
    if Alert.objects.open().filter(kind=AWAY, scope=SCANNER, message__contains=text).exists():
        return
    raise_alert(
        AWAY,
        SCANNER,
        f"{text} {wait} and cannot be printed; nothing is lost, and they are tried again within 15 minutes. Start "
        f"clamd, or mend CLAMD_SOCKET or its limits. See README, {AWAY}.",
        now=now,
    )


def _of_letters_kept(kind: str) -> list[str]:
    """Return the scopes of open alerts whose letters are there: of one retention has removed nothing is left to see."""
    scopes = Alert.objects.open().filter(kind=kind, scope__startswith="letter ").values_list("scope", flat=True)
    keys = [UUID(scope.removeprefix("letter ")) for scope in scopes]
    return [scope_of(key) for key in Letter.objects.filter(pk__in=keys).values_list("pk", flat=True)]
