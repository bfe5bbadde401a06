"""Claiming letters to render, and writing what became of them only where the claim still stands.

A file's name is written to its row before the file is: whoever is killed in between leaves no file that nobody knows
of. The next try deletes that file and takes another name, so a worker that slept past its lease cannot touch what a
later one made.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.db import transaction

from letters import files, unrendered
from letters.models import Letter
from letters.querysets import RENDERED_IN_VAIN
from notify import bulk
from notify.clock import local_date

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one letter."""

    letter: Letter
    sha256: str = ""
    pages: int = 0
    problem: str = ""  # it can never be printed as it is
    error: str = ""  # to be tried again
    stored: bool = False  # a file may lie in the storage, whole or in part
    waits: bool = False  # for its key, which is not in ENCRYPTION_KEYS

    @property
    def failed(self) -> bool:
        """True when typesetting was tried often enough; a storage, or a missing key, is tried until it works."""
        blameless = self.stored or self.waits
        return bool(self.error) and not blameless and self.letter.attempts >= settings.LETTER_RENDERING_ATTEMPTS_LIMIT


def claim(limit: int, *, now: datetime) -> list[Letter]:
    """Claim up to `limit` due letters, each with the name its file will have, and commit.

    A letter whose worker died time and again is claimed alone, when no other is due: it may be the cause. One with a
    file of an earlier try keeps that name until `renamed` has deleted it.
    """
    with transaction.atomic():
        rows = Letter.objects.renderable(now).select_related("notification__service")
        rows = rows.select_for_update(of=("self",), skip_locked=True)
        letters = list(rows.exclude(claimed_at__isnull=False, attempts__gte=RENDERED_IN_VAIN)[:limit]) or list(rows[:1])
        for letter in letters:
            letter.last_error = unrendered.STOPPED if letter.claimed_at else letter.last_error
            letter.claimed_at, letter.attempts = now, letter.attempts + 1
            letter.pdf.name = letter.pdf.name or _name(letter)
        written = {
            "attempts": [letter.attempts for letter in letters],
            "last_error": [letter.last_error for letter in letters],
            "pdf": [letter.pdf.name for letter in letters],
        }
        lease = {"claimed_at": now, "due_at": now + settings.LETTER_RENDERING_LEASE}
        bulk.update_each(Letter, [letter.pk for letter in letters], written, alike=lease)
    return letters


def renew(letters: Sequence[Letter], *, now: datetime) -> None:
    """Hold these for another lease, where the claim still stands."""
    lease = {"due_at": now + settings.LETTER_RENDERING_LEASE}
    bulk.update_each(Letter, [letter.pk for letter in letters], {}, checked=_token(letters), alike=lease)


def renamed(letters: Sequence[Letter]) -> list[Letter]:
    """Delete what an earlier try of these left and give them new names. Returns those for which that was done."""
    clean = [letter for letter in letters if removed(letter.pdf.name)]
    for letter in clean:
        letter.pdf.name = _name(letter)
    keys, names = [letter.pk for letter in clean], [letter.pdf.name for letter in clean]
    done = bulk.update_each(Letter, keys, {"pdf": names}, checked=_token(clean))
    return [letter for letter in clean if letter.pk in done]


def write(done: Sequence[Made], *, only: tuple[str, list[Any]] | None = None, **written: list[Any]) -> Collection[Any]:
    """Write a value per letter and end the claims, where they still stand. Returns the keys of the rows written."""
    letters = [made.letter for made in done]
    keys = [letter.pk for letter in letters]
    return bulk.update_each(Letter, keys, written, checked=_token(letters), alike={"claimed_at": None}, only=only)


def drop(late: Sequence[Made]) -> None:
    """Remove the files of letters that were cancelled, or claimed by another worker, meanwhile."""
    for made in late:
        letter = made.letter
        if removed(letter.pdf.name):
            mine = Letter.objects.filter(pk=letter.pk, claimed_at=letter.claimed_at, attempts=letter.attempts)
            mine.update(pdf="", due_at=None, claimed_at=None)


def removed(name: str) -> bool:
    """Delete a file; False when the storage would not: its row keeps the name for the next try, or for retention."""
    try:
        storages[files.PDF].delete(name)
    except Exception as error:  # each storage has errors of its own; one must not stop the others
        logger.warning("A file of a letter was not deleted", exc_info=error)
        return False
    return True


def _name(letter: Letter) -> str:
    """Return a name no other try of this letter has: day of creation, message, and from the second try its number."""
    day = local_date(letter.notification.created_at)
    again = f"-{letter.attempts}" if letter.attempts > 1 else ""
    return f"{day:%Y-%m-%d}/{letter.pk}{again}.pdf"


def _token(letters: Sequence[Letter]) -> dict[str, list[Any]]:
    """Return what an UPDATE repeats: a worker that slept past its lease changes nothing."""
    return {name: [getattr(letter, name) for letter in letters] for name in ("claimed_at", "attempts")}
