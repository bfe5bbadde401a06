"""The virus check of precompiled letters: claim with a lease, fetch, scan, and write the verdict with its status.

The verdict belongs to the bytes: they are read once, hashed, scanned and passed on from the same copy. Whatever ends a
worker in between leaves the letter `pending-virus-check`; its lease runs out and the next run does all of it again.
Without a scanner nothing is claimed, and nothing is lost.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from callbacks.outcomes import settle
from letters import clamd, files, strays
from letters.models import Letter
from letters.pdf_checks import Checked, Problem, check_pdf
from letters.placing import Copy, fetched, place, tidy
from letters.scan_alerts import (
    DECLINED,
    FILE_MISSING,
    alert_changed,
    alert_missing,
    alert_virus,
    alert_virus_in_refused,
    tend_alerts,
)
from letters.virus_check import virus_in
from notify.loops import Due, in_slots, linger
from notify.models import Notification
from notify.states import Move

logger = logging.getLogger(__name__)
LOOP = "letters.scan_letters"
WAITS = (timedelta(minutes=1), timedelta(minutes=15))  # before a letter is tried again: doubled from … to …
Clock = Callable[[], datetime]  # gives the moment (aware, UTC)
Status = Notification.Status
_PRECOMPILED = Letter.Kind.PRECOMPILED


def scan_due(*, clock: Clock) -> int:
    """Scan what is due in one of the loop's places; ends early where the scanner is of no use. Returns how many."""
    scanner = _Scanner()
    handled = in_slots(
        LOOP,
        lambda until: linger(lambda: 0 if scanner.away else scan_next(scanner, clock=clock), until=until),
        waiting=lambda: not scanner.away and Letter.objects.due(_PRECOMPILED, clock()).exists(),
    )
    scanner.look()
    tend_alerts(trouble=scanner.away, now=clock())
    strays.remove_strays(now=clock())
    return handled


class _Scanner:
    """Whether the scanner is of use, found out once a run: a thousand letters must not each wait for a dead one."""

    def __init__(self) -> None:
        self.away = ""
        self.look()

    def look(self) -> None:
        """Ask; a passed self-test is remembered, so this costs next to nothing."""
        if self.away or not Letter.objects.to_scan().exists():
            return
        try:
            clamd.self_test()
        except clamd.ScannerError as error:
            self.away = str(error)


def scan_next(scanner: _Scanner, *, clock: Clock) -> int:
    """Claim one letter and see it through. Returns 0 where none is due."""
    letter = claim(now=clock())
    if letter is None:
        return 0
    try:
        if letter.notification.status == Status.PENDING_VIRUS_CHECK:
            with fetched(letter) as copy:
                _scan(letter, copy, clock=clock)
        elif letter.notification.status == Status.VALIDATION_FAILED:
            _scan_refused(letter, clock=clock)
        else:
            _put_away(letter)
    except FileNotFoundError:
        if put_back(letter, f"{FILE_MISSING}the file is not in letters-scan", now=clock()):
            alert_missing(letter.pk, now=clock())
    except clamd.Away as error:
        scanner.away = str(error)
        put_back(letter, f"{DECLINED}{error}", now=clock())
    except clamd.Declined as error:
        put_back(letter, f"{DECLINED}{error}", now=clock())
    except Exception as error:  # (a storage has errors of its own; one letter must not stop the others)
        logger.warning("Letter %s was not scanned", letter.pk, exc_info=error, extra={"notification_id": letter.pk})
        put_back(letter, f"{type(error).__name__}: its file could not be read or moved", now=clock())
    return 1


def claim(*, now: datetime) -> Letter | None:
    """Claim the letter that is due longest: one at a time, because a file takes up to LETTER_SCAN_TIMEOUT."""
    with transaction.atomic():
        due = Letter.objects.due(_PRECOMPILED, now).select_for_update(skip_locked=True)
        key = due.values_list("pk", flat=True).first()
        if key is None:
            return None
        Letter.objects.filter(pk=key).update(
            due_at=now + settings.LETTER_SCAN_LEASE, claimed_at=now, attempts=F("attempts") + 1
        )
    return Letter.objects.select_related("notification__service").get(pk=key)


def put_back(letter: Letter, why: str, *, now: datetime) -> bool:
    """Let a claimed letter be tried again later. Returns False where it is no longer ours."""
    least, most = WAITS
    wait = min(most, least * 2 ** min(letter.attempts - 1, 10))
    return bool(_mine(letter).update(due_at=now + wait, claimed_at=None, last_error=why[:300]))


def due(*, now: datetime) -> Due:
    """Say which letters would be scanned now."""
    return Due.of(Letter.objects.due(_PRECOMPILED, now), "due_at")


def scanner_state(now: datetime) -> dict[str, Any]:
    """Say for a panel how the virus check stands, from the rows alone: nobody is asked while a page is shown.

    Returns configured (is a scanner named), waiting (letters), oldest (when the oldest was made, UTC, or None), due
    (of them, letters that could be scanned now) and trouble (why the last one that failed was not scanned, or "").
    """
    waiting = Letter.objects.unscanned()
    failed = waiting.exclude(last_error="").order_by("-due_at").values_list("last_error", flat=True).first()
    made = waiting.order_by("notification__created_at").values_list("notification__created_at", flat=True)
    unset = "" if settings.CLAMD_SOCKET else "CLAMD_SOCKET is not set, so no virus scanner is asked"
    return {
        "configured": not unset,
        "waiting": waiting.count(),
        "oldest": made.first(),
        "due": waiting.filter(due_at__lte=now).count(),
        "trouble": unset or failed or "",
    }


def _mine(letter: Letter) -> Any:
    """The row, as long as this claim holds."""
    return Letter.objects.filter(pk=letter.pk, claimed_at=letter.claimed_at, attempts=letter.attempts)


def _scan(letter: Letter, copy: Copy, *, clock: Clock) -> None:
    """Get the verdict on these very bytes and act on it."""
    if copy.sha256 != letter.sha256:
        _take_change(letter, copy, now=clock())
        return
    virus = virus_in(copy.file)
    if virus:
        place(copy, files.INVALID, letter.pdf.name)
        _settle(letter, Letter.Verdict.INFECTED, Status.VIRUS_SCAN_FAILED, f"VIRUS_FOUND: {virus}", now=clock())
    else:
        place(copy, files.PDF, letter.pdf.name)
        _settle(letter, Letter.Verdict.CLEAN, Status.CREATED, "", now=clock())
    tidy(letter)


def _settle(letter: Letter, verdict: str, status: str, reason: str, *, now: datetime) -> None:
    """Write verdict, status, callback and alert together. A claim that ran out, or a cancelled letter, changes nothing
    but what is true of it."""
    found = {"scan_verdict": verdict, "scanned_sha256": letter.sha256, "scanned_at": now}
    with transaction.atomic():
        if not _mine(letter).update(due_at=None, claimed_at=None, last_error="", **found):
            return
        moved = settle([_move(letter, status, reason)], now=now)
        if moved and verdict == Letter.Verdict.INFECTED:
            alert_virus(letter.pk, letter.notification.service, reason.removeprefix("VIRUS_FOUND: "), now=now)


def _scan_refused(letter: Letter, *, clock: Clock) -> None:
    """Scan a file that was refused while no scanner could be asked. Its status is final: a virus is noted and told."""
    virus, found = "", {}
    with suppress(FileNotFoundError), fetched(letter) as copy:
        virus = virus_in(copy.file, refused=True)
        found = {"scan_verdict": Letter.Verdict.INFECTED, "scanned_sha256": copy.sha256, "scanned_at": clock()}
    with transaction.atomic():
        mine = _mine(letter).update(due_at=None, claimed_at=None, last_error="", **(found if virus else {}))
        if mine and virus:
            alert_virus_in_refused(letter.pk, letter.notification.service, virus, now=clock())


def _take_change(letter: Letter, copy: Copy, *, now: datetime) -> None:
    """The file is not the one that was uploaded (PDF_CHANGED).

    The new bytes are checked as an upload is. Fit: their hash is taken and they are scanned at the next run, which
    begins with the same comparison. Unfit: the letter is `validation-failed`. Either way somebody is told.
    """
    checked: Checked | Problem = check_pdf(copy.file)
    if isinstance(checked, Checked):
        text = "PDF_CHANGED: the file was replaced after the upload; the new one is checked and scanned"
        taken = {"sha256": copy.sha256, "pages": checked.pages, "scan_verdict": "", "scanned_sha256": ""}
        with transaction.atomic():
            if _mine(letter).update(due_at=now, claimed_at=None, last_error=text, **taken):
                alert_changed(letter.pk, "The new file was checked and is scanned like any other.", now=now)
        return
    _refuse_change(letter, copy, checked, now=now)
    tidy(letter)


def _refuse_change(letter: Letter, copy: Copy, problem: Problem, *, now: datetime) -> None:
    """End a letter whose new file may not be printed; a virus in it comes before any other reason."""
    virus = virus_in(copy.file, refused=True)
    status, reason = Status.VALIDATION_FAILED, f"PDF_CHANGED: {problem}"
    done = {"sha256": copy.sha256, "pages": None, "due_at": None, "claimed_at": None, "last_error": ""}
    if virus:
        status, reason = Status.VIRUS_SCAN_FAILED, f"VIRUS_FOUND: {virus}"
        done |= {"scan_verdict": Letter.Verdict.INFECTED, "scanned_sha256": copy.sha256, "scanned_at": now}
    place(copy, files.INVALID, letter.pdf.name)
    with transaction.atomic():
        if not _mine(letter).update(**done):
            return
        moved = settle([_move(letter, status, reason)], now=now)
        alert_changed(letter.pk, f"The new file may not be printed ({problem.code}).", now=now)
        if moved and virus:
            alert_virus(letter.pk, letter.notification.service, virus, now=now)


def _move(letter: Letter, status: str, reason: str) -> Move:
    # Only from pending-virus-check: a letter cancelled meanwhile stays cancelled.
    return Move(letter.pk, status, {"status_reason": reason[:300]}, {"status": Status.PENDING_VIRUS_CHECK})


def _put_away(letter: Letter) -> None:
    """A letter cancelled before its check: nobody will print it, so its unscanned file goes."""
    if _mine(letter).update(due_at=None, claimed_at=None, last_error="", pdf=""):
        tidy(letter)
