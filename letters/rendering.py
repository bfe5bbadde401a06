"""Rendering: letters made from a template get their PDF. Claim a batch, make and store the files, write in bulk.

The compiler has a thread of its own and leaves the interpreter to others while it works: the next batch is claimed and
read, and the one before it stored and written, meanwhile. Only the loop's own thread asks the database.
"""

import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction

from callbacks.outcomes import settle
from letters import files, unrendered
from letters.claiming import Made, claim, drop, renamed, renew, write
from letters.letter_content import letter_data
from letters.models import Letter
from letters.preview import page_count
from letters.typesetting import Typesetter
from notify import missing_key
from notify.content import ContentProblem
from notify.crypto import KeyMissing
from notify.loops import Due, in_slots, linger
from notify.models import Notification
from notify.states import Move
from providers.words import Words

logger = logging.getLogger(__name__)
Awaited = TypeVar("Awaited")
LOOP = "letters.render_letter_pdfs"
STORING = 8  # files on their way to the storage at once: a distant one answers in tenths of a second
BACKOFF = (60, 600, 1_800, 3_600)  # seconds after each try, the last one again and again
JITTER = 0.2
_STILL_WAITED_FOR = (
    "EXISTS (SELECT 1 FROM notify_notification m WHERE m.id = n.notification_id AND m.status = 'created')"
)


def render_due(*, clock: Callable[[], datetime]) -> int:
    """Render the letters that are due, in one of the loop's places. Returns how many were handled."""
    Letter.objects.not_worth_rendering(clock()).update(due_at=None, claimed_at=None)
    handled = in_slots(
        LOOP, lambda until: _carry(until, clock), waiting=lambda: Letter.objects.renderable(clock()).exists()
    )
    unrendered.judge(now=clock())
    waiting = Letter.objects.filter(due_at__isnull=False, last_error=missing_key.REASON)
    missing_key.close(missing_key.LETTERS, waiting, now=clock())
    return handled


def due(*, now: datetime) -> Due:
    """Say which letters would be rendered now."""
    return Due.of(Letter.objects.renderable(now), "due_at")


def _carry(until: float, clock: Callable[[], datetime]) -> int:
    with ThreadPoolExecutor(1, "letters-making") as making, ThreadPoolExecutor(STORING, "letters-storing") as storing:
        rendering = Rendering(making, storing, clock)
        try:
            return linger(rendering.step, until=until)
        finally:
            rendering.close()


class Rendering:
    """Renders batches; compiler, templates and threads are kept between them."""

    def __init__(self, making: ThreadPoolExecutor, storing: ThreadPoolExecutor, clock: Callable[[], datetime]) -> None:
        """making: of one thread, the compiler's."""
        self._making, self._storing, self._clock = making, storing, clock
        self._words, self._typesetter = Words(), Typesetter()
        self._begun: list[Future[list[Future[Made]]]] = []  # the batch that is being made
        self._held: list[Letter] = []  # claimed and not written

    def step(self) -> int:
        """Begin one batch, then write what became of the one before. Returns how many letters were begun.

        Letters whose worker stopped may stop this one as well: nothing else is claimed or unwritten meanwhile.
        """
        letters = claim(settings.LETTER_RENDERING_BATCH, now=self._clock())
        self._held += letters
        alone = any(letter.last_error == unrendered.STOPPED for letter in letters)
        if alone:
            self.close()
        free = _with_a_free_name(letters, now=self._clock())
        said = [self._said(letter) for letter in free]
        before, self._begun = self._begun, [self._making.submit(self._make, said)] if said else []
        self._end(before)
        if alone:
            self.close()
        return len(letters)

    def close(self) -> None:
        """Write what became of the batch that was begun last."""
        before, self._begun = self._begun, []
        self._end(before)

    def _end(self, batches: Sequence[Future[list[Future[Made]]]]) -> None:
        for batch in batches:
            done = [self._awaited(one) for one in self._awaited(batch)]
            finish(done, now=self._clock())
            written = {made.letter.pk for made in done}
            self._held = [letter for letter in self._held if letter.pk not in written]

    def _awaited(self, future: Future[Awaited]) -> Awaited:
        """Return a result. A slow storage is no dead worker: what is held stays so, and the session is not silent."""
        patience = min(settings.LETTER_RENDERING_LEASE, settings.LOOP_FROZEN_AFTER) / 3
        while True:
            done, _ = wait([future], timeout=patience.total_seconds())
            if done:
                return future.result()
            renew(self._held, now=self._clock())

    def _said(self, letter: Letter) -> tuple[Made, dict[str, Any]]:
        """Return what one letter says; what is wrong with one must not stop its batch."""
        if letter.last_error == unrendered.STOPPED and letter.attempts > settings.LETTER_RENDERING_ATTEMPTS_LIMIT:
            return Made(letter, error=unrendered.STOPPED), {}
        try:
            return Made(letter), letter_data(letter.notification, self._words)
        except ContentProblem as problem:
            return Made(letter, problem=str(problem)), {}
        except KeyMissing:
            return Made(letter, error=missing_key.REASON, waits=True), {}
        except Exception as error:  # noqa: BLE001  (logged there)
            return _unrenderable(letter, error), {}

    def _make(self, said: Sequence[tuple[Made, dict[str, Any]]]) -> list[Future[Made]]:
        """Make PDFs, each stored while the next is made; runs in the compiler's thread."""
        return [self._storing.submit(_keep, *self._typeset(made, data)) for made, data in said]

    def _typeset(self, made: Made, data: dict[str, Any]) -> tuple[Made, bytes]:
        """Make one letter's PDF, where it says anything."""
        if not data:
            return made, b""
        letter = made.letter
        try:
            return made, self._typesetter.pdf(data, made_at=letter.notification.created_at)
        except ContentProblem as problem:
            return Made(letter, problem=str(problem)), b""
        except Exception as error:  # noqa: BLE001  (logged there)
            return _unrenderable(letter, error), b""


def _with_a_free_name(letters: Sequence[Letter], *, now: datetime) -> list[Letter]:
    """Return the letters whose name is free; an earlier try's file that cannot be deleted makes its letter wait."""
    again = [letter for letter in letters if letter.attempts > 1]
    if not again:
        return list(letters)
    free = {letter.pk for letter in renamed(again)}
    stuck = [letter for letter in again if letter.pk not in free]
    finish([Made(letter, error="storage: an old file is in the way", stored=True) for letter in stuck], now=now)
    return [letter for letter in letters if letter.attempts == 1 or letter.pk in free]


def _keep(made: Made, pdf: bytes) -> Made:
    """Count and store what was made of a letter; runs in a thread and leaves the database alone."""
    return _store(*_counted(made.letter, pdf)) if pdf else made


def _counted(letter: Letter, pdf: bytes) -> tuple[Made, bytes]:
    try:
        pages = page_count(pdf)
    except Exception as error:  # noqa: BLE001  (logged there)
        return _unrenderable(letter, error), b""
    if pages > settings.LETTER_PAGES_LIMIT:
        limit = settings.LETTER_PAGES_LIMIT
        what = f"LETTER_PAGES: The letter has {pages} pages, limit {limit}. Shorten the values of this row."
        return Made(letter, problem=what), b""
    return Made(letter, hashlib.sha256(pdf).hexdigest(), pages), pdf


def _unrenderable(letter: Letter, error: Exception) -> Made:
    logger.error("Letter %s cannot be rendered", letter.pk, exc_info=error, extra={"notification_id": str(letter.pk)})
    return Made(letter, error=type(error).__name__)


def _store(made: Made, pdf: bytes) -> Made:
    """Store one file, where there is one."""
    if not pdf:
        return made
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
    written = write(good, pdf=[made.letter.pdf.name for made in good], sha256=[made.sha256 for made in good],
                    pages=[made.pages for made in good], due_at=[None] * len(good), last_error=[""] * len(good),
                    only=(_STILL_WAITED_FOR, []))  # fmt: skip
    drop([made for made in good if made.letter.pk not in written])
    bad = [made for made in done if made.problem or made.error]
    ends = [made for made in bad if made.problem or made.failed]
    if not bad:
        return
    with transaction.atomic():
        kept = write(bad, pdf=[made.letter.pdf.name if made.stored else "" for made in bad],
                     due_at=[None if made in ends else now + _backoff(made) for made in bad],
                     attempts=[made.letter.attempts - made.waits for made in bad],
                     last_error=[made.error for made in bad])  # fmt: skip
        settle([_ending(made) for made in ends if made.letter.pk in kept], now=now)
    if any(made.waits for made in bad):
        missing_key.tell(missing_key.LETTERS, now=now)
    unrendered.tell_failed([made.letter for made in ends if made.error and made.letter.pk in kept], now=now)


def _ending(made: Made) -> Move:
    status = Notification.Status.VALIDATION_FAILED if made.problem else Notification.Status.TECHNICAL_FAILURE
    reason = made.problem or f"the letter could not be rendered ({made.error})"
    return Move(made.letter.pk, status, {"status_reason": reason[:300], "due_at": None})


def _backoff(made: Made) -> timedelta:
    if made.waits:
        return missing_key.AGAIN
    base = BACKOFF[min(made.letter.attempts, len(BACKOFF)) - 1]
    return timedelta(seconds=base * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311
