"""Rendering: letters made from a template get their PDF. Claim a batch, make and store the files, write in bulk.

A file's name is written to its row before the file is: whoever is killed in between leaves no file that nobody knows
of. The next try deletes that file and takes another name, so a worker that slept past its lease cannot touch what a
later one made.
"""

import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction
from django.db.models import F

from callbacks.outcomes import settle
from letters import files, unrendered
from letters.letter_content import letter_data
from letters.models import Letter
from letters.preview import page_count
from letters.querysets import RENDERED_IN_VAIN
from letters.typesetting import Typesetter
from notify import bulk
from notify.clock import local_date
from notify.content import ContentProblem
from notify.loops import Due, in_slots, linger
from notify.models import Notification
from notify.states import Move
from providers.words import Words

logger = logging.getLogger(__name__)
LOOP = "letters.render_letter_pdfs"
STORING = 8  # files on their way to the storage at once: a distant one answers in tenths of a second
BACKOFF = (60, 600, 1_800, 3_600)  # seconds after each try, the last one again and again
JITTER = 0.2
_STILL_WAITED_FOR = (
    "EXISTS (SELECT 1 FROM notify_notification m WHERE m.id = n.notification_id AND m.status = 'created')"
)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one letter."""

    letter: Letter
    sha256: str = ""
    pages: int = 0
    problem: str = ""  # it can never be printed as it is
    error: str = ""  # to be tried again
    stored: bool = False  # a file may lie in the storage, whole or in part

    @property
    def failed(self) -> bool:
        """True when typesetting was tried often enough; a storage is tried until it works."""
        return bool(self.error) and not self.stored and self.letter.attempts >= settings.LETTER_RENDERING_ATTEMPTS_LIMIT


def render_due(*, clock: Callable[[], datetime]) -> int:
    """Render the letters that are due, in one of the loop's places. Returns how many were handled."""
    Letter.objects.not_worth_rendering(clock()).update(due_at=None, claimed_at=None)
    handled = in_slots(
        LOOP, lambda until: _carry(until, clock), waiting=lambda: Letter.objects.renderable(clock()).exists()
    )
    unrendered.judge(now=clock())
    return handled


def due(*, now: datetime) -> Due:
    """Say which letters would be rendered now."""
    return Due.of(Letter.objects.renderable(now), "due_at")


def _carry(until: float, clock: Callable[[], datetime]) -> int:
    with ThreadPoolExecutor(STORING, thread_name_prefix="letters") as pool:
        return linger(Rendering(pool, clock).step, until=until)


class Rendering:
    """Renders batches; compiler, templates and threads are kept between them."""

    def __init__(self, pool: ThreadPoolExecutor, clock: Callable[[], datetime]) -> None:
        self._pool, self._clock = pool, clock
        self._words, self._typesetter = Words(), Typesetter()

    def step(self) -> int:
        """Render one batch. Returns how many letters it had."""
        letters = claim(settings.LETTER_RENDERING_BATCH, now=self._clock())
        waiting: list[Any] = []  # in order: what is known already, or the storage's answer to come
        for letter in letters:
            made, pdf = self._typeset(letter)
            waiting.append(self._pool.submit(_store, made, pdf) if pdf else made)
        done = [one if isinstance(one, Made) else one.result() for one in waiting]
        finish(done, now=self._clock())
        return len(letters)

    def _typeset(self, letter: Letter) -> tuple[Made, bytes]:
        """Make one letter's PDF; what is wrong with one letter must not stop its batch."""
        if letter.last_error == unrendered.STOPPED and letter.attempts > settings.LETTER_RENDERING_ATTEMPTS_LIMIT:
            return Made(letter, error=unrendered.STOPPED), b""
        notification = letter.notification
        try:
            data = letter_data(notification, self._words)
            pdf = self._typesetter.pdf(data, made_at=notification.created_at)
            pages = page_count(pdf)
        except ContentProblem as problem:
            return Made(letter, problem=str(problem)), b""
        except Exception as error:
            logger.exception("Letter %s cannot be rendered", letter.pk, extra={"notification_id": str(letter.pk)})
            return Made(letter, error=type(error).__name__), b""
        if pages > settings.LETTER_PAGES_LIMIT:
            limit = settings.LETTER_PAGES_LIMIT
            what = f"LETTER_PAGES: The letter has {pages} pages, limit {limit}. Shorten the values of this row."
            return Made(letter, problem=what), b""
        return Made(letter, hashlib.sha256(pdf).hexdigest(), pages), pdf


def claim(limit: int, *, now: datetime) -> list[Letter]:
    """Claim up to `limit` due letters, each with the name its file will have, and commit.

    A letter whose worker died time and again is claimed alone, when no other is due: it may be the cause.
    """
    with transaction.atomic():
        rows = Letter.objects.renderable(now).select_related("notification__service")
        rows = rows.select_for_update(of=("self",), skip_locked=True)
        letters = list(rows.exclude(claimed_at__isnull=False, attempts__gte=RENDERED_IN_VAIN)[:limit]) or list(rows[:1])
        claimed = Letter.objects.filter(pk__in=[letter.pk for letter in letters])
        claimed.filter(claimed_at__isnull=False).update(last_error=unrendered.STOPPED)
        claimed.update(claimed_at=now, attempts=F("attempts") + 1, due_at=now + settings.LETTER_RENDERING_LEASE)
        for letter in letters:
            letter.last_error = unrendered.STOPPED if letter.claimed_at else letter.last_error
            letter.claimed_at, letter.attempts = now, letter.attempts + 1
    return _named(letters, now=now)


def _named(letters: Sequence[Letter], *, now: datetime) -> list[Letter]:
    """Remove what an earlier try may have left, and write each letter's new name. Returns those that have it."""
    lost = []
    for letter in letters:
        if letter.pdf and not _removed(letter.pdf.name):
            lost.append(Made(letter, error="the file of an earlier try could not be deleted", stored=True))
        else:
            letter.pdf.name = _name(letter)
    finish(lost, now=now)
    kept = [letter for letter in letters if all(letter is not made.letter for made in lost)]
    named = bulk.update_each(
        Letter, [letter.pk for letter in kept], {"pdf": [letter.pdf.name for letter in kept]}, checked=_token(kept)
    )
    return [letter for letter in kept if letter.pk in named]


def _name(letter: Letter) -> str:
    """Return a name no other try of this letter has: day of creation, message, and from the second try its number."""
    day = local_date(letter.notification.created_at)
    again = f"-{letter.attempts}" if letter.attempts > 1 else ""
    return f"{day:%Y-%m-%d}/{letter.pk}{again}.pdf"


def _store(made: Made, pdf: bytes) -> Made:
    """Store one file; runs in a thread and leaves the database alone."""
    try:
        name = storages[files.PDF].save(made.letter.pdf.name, ContentFile(pdf))
    except Exception as error:
        logger.warning("The PDF of letter %s was not stored", made.letter.pk, exc_info=error)
        return replace(made, error=f"storage: {type(error).__name__}", stored=True)
    made.letter.pdf.name = name
    return replace(made, stored=True)


def finish(done: Sequence[Made], *, now: datetime) -> None:
    """Write what became of the letters, only where the claim still stands; files of the others are removed."""
    good = [made for made in done if not (made.problem or made.error)]
    written = _write(good, pdf=[made.letter.pdf.name for made in good], sha256=[made.sha256 for made in good],
                     pages=[made.pages for made in good], due_at=[None] * len(good), last_error=[""] * len(good),
                     only=(_STILL_WAITED_FOR, []))  # fmt: skip
    _drop([made for made in good if made.letter.pk not in written])
    bad = [made for made in done if made.problem or made.error]
    ends = [made for made in bad if made.problem or made.failed]
    with transaction.atomic():
        kept = _write(bad, pdf=[made.letter.pdf.name if made.stored else "" for made in bad],
                      due_at=[None if made in ends else now + _backoff(made.letter.attempts) for made in bad],
                      last_error=[made.error for made in bad])  # fmt: skip
        settle([_ending(made) for made in ends if made.letter.pk in kept], now=now)
    unrendered.tell_failed([made.letter for made in ends if made.error and made.letter.pk in kept], now=now)


def _write(done: Sequence[Made], *, only: tuple[str, list[Any]] | None = None, **written: list[Any]) -> set[Any]:
    letters = [made.letter for made in done]
    keys = [letter.pk for letter in letters]
    return bulk.update_each(Letter, keys, written, checked=_token(letters), alike={"claimed_at": None}, only=only)


def _token(letters: Sequence[Letter]) -> dict[str, list[Any]]:
    """Return what an UPDATE repeats: a worker that slept past its lease changes nothing."""
    return {name: [getattr(letter, name) for letter in letters] for name in ("claimed_at", "attempts")}


def _ending(made: Made) -> Move:
    status = Notification.Status.VALIDATION_FAILED if made.problem else Notification.Status.TECHNICAL_FAILURE
    reason = made.problem or f"the letter could not be rendered ({made.error})"
    return Move(made.letter.pk, status, {"status_reason": reason[:300], "due_at": None})


def _drop(late: Sequence[Made]) -> None:
    """Remove the files of letters that were cancelled or claimed by another meanwhile."""
    for made in late:
        letter = made.letter
        if _removed(letter.pdf.name):
            mine = Letter.objects.filter(pk=letter.pk, claimed_at=letter.claimed_at, attempts=letter.attempts)
            mine.update(pdf="", due_at=None, claimed_at=None)


def _removed(name: str) -> bool:
    """Delete a file; False when the storage would not: its row keeps the name for the next try, or for retention."""
    try:
        storages[files.PDF].delete(name)
    except Exception as error:  # each storage has errors of its own; one must not stop the others
        logger.warning("A file of a letter was not deleted", exc_info=error)
        return False
    return True


def _backoff(attempts: int) -> timedelta:
    base = BACKOFF[min(attempts, len(BACKOFF)) - 1]
    return timedelta(seconds=base * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
