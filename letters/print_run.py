"""Once a day all letters that are ready go to the postal provider: the only way in which letters leave.

A day is due from PRINT_RUN_AT on until its run is finished, at whatever hour that is; of several missed days only the
newest is run, since letters of any age are taken. One worker at a time: an advisory lock says so, which PostgreSQL
frees when its holder dies. The rows are safe without it too (see letters/print_files.py).
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import date, datetime
from io import BytesIO
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection
from django.db.models import Sum

from letters import postal, print_files
from letters.acknowledgements import read_acknowledgements
from letters.holding import tell_held
from letters.models import Letter, PrintRun
from letters.reading import Reader, StorageAway, tell_unreadable
from letters.resuming import resume
from notify.alerts import close_alert, raise_alert
from notify.celery import stopping
from notify.clock import newest_print_day, print_deadline
from notify.loops import Due, InTransaction, refuse_transaction, slot
from providers.models import Pause

logger = logging.getLogger(__name__)
LOCK = "letters.collate_letter_pdfs_for_day"
FAILED = "print-run-failed"
WORK_FOR = 15 * 60  # seconds; below the task's time limit, and the next tick goes on


class Busy(Exception):
    """Another worker collates letters at this moment."""


class Paused(Exception):
    """All sending is paused, so no letter leaves."""


def collate(
    *, clock: Callable[[], datetime], day: date | None = None, counts: dict[str, int] | None = None
) -> dict[str, int]:
    """Run the print run that is due (or that of one local day) to its end, and any that was left unfinished.

    clock: gives the moment (aware, UTC). counts: filled, so that it is known what went before an error.
    Returns what was found and sent; raises Busy and Paused, where nothing was
    done, and whatever a storage raised first: an alert is open then, and the next call goes on where this one stopped.
    """
    refuse_transaction()
    if Pause.objects.on().exists():
        raise Paused
    counts = {} if counts is None else counts
    counts |= {"letters": 0, "zips": 0, "unfinished": 0}
    with slot(LOCK, places=1) as mine:
        if not mine:
            raise Busy
        until = time.monotonic() + WORK_FOR
        errors: list[Exception] = []
        for run in _runs(day, clock()):  # a run that cannot go on keeps no later day's letters
            try:
                counts["unfinished"] += not _work(run, counts, clock=clock, until=until)
            except Exception as error:  # noqa: BLE001  (logged there)
                _reconnect()
                _tell_failed(run, error, now=clock())
                errors.append(error)
                if isinstance(error, SoftTimeLimitExceeded):
                    break
        if errors:
            raise errors[0]
    return counts


def tick(*, clock: Callable[[], datetime], counts: dict[str, int] | None = None) -> dict[str, int]:
    """What the periodic loop does: what the postal provider says of earlier zips, then the run that is due.

    Acknowledgements come first: one of them may say that a zip went whose upload was cut off at its very end.
    Where another worker collates, or all sending is paused, no run is worked on. A step that fails keeps no other from
    its work; the first error is raised at the end. counts: is filled with what was found and done, also when it raises.
    """
    counts = {} if counts is None else counts
    errors: list[Exception] = []
    steps: list[Callable[[], object]] = [
        lambda: counts.update(read_acknowledgements(now=clock())),
        lambda: collate(clock=clock, counts=counts),
        lambda: tell_held(now=clock()),
        lambda: tell_unreadable(now=clock()),
    ]
    for step in steps:
        try:
            with suppress(Busy, Paused):
                step()
        except InTransaction:
            raise
        except Exception as error:
            logger.warning("A step of the print run's tick failed", exc_info=error)
            errors.append(error)
            _reconnect()
    if errors:
        raise errors[0]
    return counts


def due_day(now: datetime) -> date | None:
    """Return the local day whose letters are to be collated now; None where that is done."""
    day = newest_print_day(now)
    return None if PrintRun.objects.filter(day=day, finished_at__isnull=False).exists() else day


def due(*, now: datetime) -> Due:
    """Say which letters the print run that is due would take."""
    day = due_day(now)
    waiting = Letter.objects.printable(print_deadline(day)) if day else Letter.objects.none()
    return Due.of(waiting, "notification__created_at")


def _runs(day: date | None, now: datetime) -> Iterator[PrintRun]:
    """Give the unfinished runs, oldest first, then the wanted day's, made where it was not begun."""
    wanted = day or due_day(now)
    unfinished = PrintRun.objects.filter(finished_at__isnull=True).order_by("day")
    yield from unfinished.exclude(day=wanted) if wanted else unfinished
    if wanted:
        start = {"deadline": print_deadline(wanted), "started_at": now, "progressed_at": now}
        run, _ = PrintRun.objects.get_or_create(day=wanted, defaults=start)
        if run.finished_at is None:
            yield run


def _work(run: PrintRun, counts: dict[str, int], *, clock: Callable[[], datetime], until: float) -> bool:
    """Bring a run's files to their end, pack what waits, and finish. Returns False where it had to stop before.

    A zip that waits for a PDF that cannot be read (see letters/resuming.py) keeps the run unfinished, and nothing else.
    """
    _count_what_waits()
    reader = Reader(run)
    for file in run.files.filter(uploaded_at__isnull=True).order_by("sequence"):
        if resume(file, reader, now=clock()):
            _count(counts, file.letter_count)
    stopped = _pack_all(run, reader, counts, clock=clock, until=until)
    reader.note(now=clock())
    tell_unreadable(now=clock())
    if not stopped and not run.files.filter(uploaded_at__isnull=True).exists():
        _finish(run, now=clock())
    return not stopped


def _pack_all(
    run: PrintRun, reader: Reader, counts: dict[str, int], *, clock: Callable[[], datetime], until: float
) -> bool:
    """Pack and hand over all that waits. Returns True where it had to stop before the end.

    What could not be read is tried once more at the end: a moment's failure costs nobody a day.
    """
    again = True
    while again:
        again, tried = False, set(reader.unreadable)
        for group in print_files.groups(run):
            with closing(print_files.pack(run, group, reader, now=clock())) as bundles:
                for bundle in bundles:
                    if _must_stop(until):
                        return True
                    file = print_files.assign(run, group, bundle, now=clock())
                    if file is None:
                        again = True
                        continue
                    print_files.deliver(file, bundle, now=clock())
                    _count(counts, file.letter_count)
        again = again or not reader.unreadable.keys() <= tried
    return False


def _count_what_waits() -> None:
    """Have the database look at its rows again.

    Its statistics are mostly from a time when no letter waited, as a day's letters are too few among those of years
    to make it look by itself. Believing that, it would compare each letter that waits with each other one.
    """
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE (SKIP_LOCKED) notify_notification, letters_letter")


def _must_stop(until: float) -> bool:
    return stopping() or time.monotonic() >= until or Pause.objects.on().exists()


def _count(counts: dict[str, int], letters: int) -> None:
    counts["letters"] += letters
    counts["zips"] += 1


def _finish(run: PrintRun, *, now: datetime) -> None:
    """Hand over the manifest and end the run; repeated, both do the same again."""
    if run.files.exists():
        postal.put_whole(postal.postal_storage(), manifest_name(run.day), BytesIO(manifest(run)))
    totals = run.files.aggregate(letters=Sum("letter_count"), sheets=Sum("sheet_count"))
    PrintRun.objects.filter(pk=run.pk, finished_at__isnull=True).update(
        finished_at=now, progressed_at=now, letter_count=totals["letters"] or 0, sheet_count=totals["sheets"] or 0
    )
    close_alert(FAILED, f"print run {run.day}", now=now)


def manifest_name(day: date) -> str:
    """Return the name of a day's manifest, which lies beside its zips."""
    return f"NOTIFY.{day}.manifest.json"


def manifest(run: PrintRun) -> bytes:
    """Write what the postal provider should have got: every zip with its hash and counts, and the totals, as JSON."""
    files: list[dict[str, Any]] = [
        {
            "name": file.name, "sha256": file.sha256, "bytes": file.size, "postage": file.postage,
            "letters": file.letter_count, "sheets": file.sheet_count,
        }
        for file in run.files.order_by("sequence")
    ]  # fmt: skip
    totals = {name: sum(file[name] for file in files) for name in ("letters", "sheets", "bytes")}
    written = {"day": str(run.day), "files": files, "totals": {"files": len(files)} | totals}
    return json.dumps(written, indent=1).encode() + b"\n"


def _reconnect() -> None:
    """Drop a session that the database ended, so that the alert can be written."""
    if not connection.in_atomic_block and not connection.is_usable():
        connection.close()


def _tell_failed(run: PrintRun, error: Exception, *, now: datetime) -> None:
    logger.warning("The print run of %s stopped", run.day, exc_info=error)
    words = str(error) if isinstance(error, StorageAway) else type(error).__name__
    raise_alert(
        FAILED, f"print run {run.day}",
        f"The print run of {run.day} stopped ({words}). What was uploaded stays so; the rest is tried again every few "
        f"minutes, and each letter goes once. Check the storages of letters and of the postal provider. "
        f"See README, {FAILED}.", now=now,
    )  # fmt: skip
