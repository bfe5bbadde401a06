"""From letters to zips at the postal provider, one zip at a time, each step safe to repeat.

1. `assign` writes the print file and puts its letters into it: from here on they cannot be cancelled any more.
2. `deliver` uploads the zip whole and then, in one transaction, marks it and moves its letters on.

Killed between the two, the next run finds the file without `uploaded_at`: letters/resuming.py looks whether it lies
whole at the postal provider, else packs the same letters again, which gives the same bytes under the same name. A
letter whose PDF is gone or changed becomes technical-failure, and the others go; one whose PDF cannot be read is never
assigned and waits for the next run (see letters/reading.py).
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from callbacks.outcomes import settle
from letters import files, postal
from letters.models import Letter, PrintFile, PrintRun
from letters.pulse import Beating, Pulse
from letters.querysets import LetterQuerySet
from letters.reading import Reader, refuse_away
from letters.zips import Bundle, zip_name
from notify import bulk
from notify.alerts import raise_alert
from notify.models import Notification
from notify.states import Move

logger = logging.getLogger(__name__)
WRONG_FILE = "letter-file-wrong"
_PAGE = 500  # letters per query
_NAMED = 10  # letters an alert names one by one
Group = tuple[UUID, str]  # a service and a postage
Status = Notification.Status


def groups(run: PrintRun) -> list[Group]:
    """Return the services and postages with letters for this run, in the order in which they are packed."""
    by = ("notification__service_id", "postage")
    return list(_printable(run).order_by(*by).values_list(*by).distinct())


def pack(run: PrintRun, group: Group, reader: Reader, *, now: datetime) -> Iterator[Bundle]:
    """Give one sealed-to-be zip after another of a group's letters, each closed before a PDF that would pass a limit.

    Letters whose PDF is wrong are failed on the way; those whose PDF cannot be read stay as they are.
    """
    bundle, wrong, pulse = Bundle(), {}, Pulse(run.pk)
    try:
        for letter in _letters(run, group):
            pdf = reader.read(letter, wrong, pulse.beat)
            if pdf is None:
                continue
            with pdf.file:
                if not bundle.fits(pdf):
                    yield bundle
                    bundle.close()
                    bundle = Bundle()
                bundle.add(letter, pdf)
        if bundle.letters:
            yield bundle
    finally:
        bundle.close()
        fail(run, wrong, now=now)


def assign(run: PrintRun, group: Group, bundle: Bundle, *, now: datetime) -> PrintFile | None:
    """Write a zip's print file and put its letters into it, all or none.

    Returns None where a letter may not go any more (cancelled, held, changed, packed by somebody else meanwhile):
    nothing is written then, and its group is packed again. Letters are locked first, then their notifications, as
    cancelling does; so a letter is cancelled or in a print file, never both.
    """
    digest, size = bundle.seal()
    packed = {letter.pk: (letter.pdf.name, letter.sha256) for letter in bundle.letters}
    with transaction.atomic():
        unprinted = Letter.objects.unprinted().filter(pk__in=bulk.among(packed))
        locked = unprinted.order_by("pk").select_for_update(of=("self",)).values_list("pk", "pdf", "sha256")
        same = bulk.among(pk for pk, *file in locked if packed[pk] == tuple(file))
        waiting = Notification.objects.filter(pk__in=same).order_by("pk").select_for_update(of=("self",))
        list(waiting.values_list("pk", flat=True))
        # A new statement, so that it sees what was committed before the locks were had.
        ready = set(_printable(run).filter(pk__in=same).values_list("pk", flat=True))
        if ready != set(packed):
            return None
        sequence = (run.files.aggregate(last=Max("sequence"))["last"] or 0) + 1
        file = PrintFile.objects.create(
            print_run=run, service_id=group[0], postage=group[1], sequence=sequence, sha256=digest, size=size,
            name=zip_name(run.day, group[1], sequence, bundle.letters),
            letter_count=len(packed), sheet_count=bundle.sheets,
        )  # fmt: skip
        unprinted.update(print_run=run, print_file=file, unreadable_at=None, last_error="")
        PrintRun.objects.filter(pk=run.pk).update(progressed_at=now)
    return file


def deliver(file: PrintFile, bundle: Bundle, *, now: datetime) -> None:
    """Upload a zip and move its letters on."""
    upload(file, bundle)
    mark_sent(file, now=now)


def upload(file: PrintFile, bundle: Bundle) -> None:
    """Put a zip where the postal provider takes it; under its name it is always whole."""
    content = cast(IO[bytes], Beating(bundle.file, Pulse(file.print_run_id)))
    postal.put_whole(postal.postal_storage(), file.name, content)
    logger.info("Zip %s uploaded, %d letters", file.name, file.letter_count, extra={"count": file.letter_count})


def mark_sent(file: PrintFile, *, now: datetime) -> int:
    """Mark a zip as uploaded and move its letters to sending (sent, where no receipt will ever come).

    now: when it was uploaded (aware, UTC). Returns how many letters moved; a second call moves none. A receipt that
    was faster than this stays.
    """
    provider = postal.postal_provider()
    reports = provider is not None and provider.receipts
    fields = {"sent_at": now, "provider_name": provider.identifier if provider else "", "status_reason": ""}
    with transaction.atomic():
        changed = PrintFile.objects.filter(pk=file.pk, uploaded_at__isnull=True)
        if not changed.update(uploaded_at=now, acknowledgeable=reports):
            return 0
        PrintRun.objects.filter(pk=file.print_run_id).update(progressed_at=now)
        keys = file.letters.order_by("pk").values_list("pk", flat=True)
        target = Status.SENDING if reports else Status.SENT
        return len(settle([Move(pk, target, fields, {"status": Status.CREATED}) for pk in keys], now=now))


def fail(run: PrintRun, wrong: dict[Letter, str], *, now: datetime) -> int:
    """Give letters whose PDF is wrong their final status, where their row still names the PDF that was looked at."""
    if not wrong:
        return 0
    refuse_away(run, len(wrong))
    with transaction.atomic():
        seen = {letter.pk: (letter.pdf.name, letter.sha256) for letter in wrong}
        locked = Letter.objects.unprinted().filter(pk__in=list(seen)).order_by("pk").select_for_update(of=("self",))
        same = {letter.pk for letter in locked if seen[letter.pk] == (letter.pdf.name, letter.sha256)}
        failed = settle_wrong({letter.pk: why for letter, why in wrong.items() if letter.pk in same}, now=now)
        Letter.objects.unprinted().filter(pk__in=list(failed)).update(print_run=run, due_at=None)
    tell_wrong(run, now=now)
    return len(failed)


def settle_wrong(reasons: dict[UUID, str], *, now: datetime) -> Collection[UUID]:
    """Give letters their final status, each with what is wrong with its PDF. Returns those that moved."""
    moves = [
        Move(pk, Status.TECHNICAL_FAILURE, {"status_reason": f"its PDF {why}"}, {"status": Status.CREATED})
        for pk, why in reasons.items()
    ]
    return settle(moves, now=now)


def _printable(run: PrintRun) -> LetterQuerySet:
    return Letter.objects.printable(run.deadline, counted=True)


def _letters(run: PrintRun, group: Group) -> Iterator[Letter]:
    """Give a group's letters in order, a page at a time."""
    wanted = _printable(run).filter(notification__service_id=group[0], postage=group[1])
    page: Sequence[Letter] = list(wanted.order_by("pk")[:_PAGE])
    while page:
        yield from page
        page = list(wanted.filter(pk__gt=page[-1].pk).order_by("pk")[:_PAGE])


def tell_wrong(run: PrintRun, *, now: datetime) -> None:
    """Keep the alert open that names the letters a run left out for good and nobody has seen."""
    wrong = Letter.objects.failed_unseen().filter(print_run=run, print_file__isnull=True).order_by("pk")
    count, first = wrong.count(), _names(wrong[:_NAMED].values_list("pk", flat=True))
    if count:
        raise_alert(
            WRONG_FILE, f"print run {run.day}",
            f"{count:,} {'letter was' if count == 1 else 'letters were'} left out of the print run of {run.day}: "
            f"the PDF is missing or changed. Ended as technical-failure: {first}{' …' if count > _NAMED else ''}. "
            f"The others went. Their PDFs lie in the storage {files.PDF}. Find out what took or changed them, send the "
            f"letters again, and mark them as seen in the admin, “Letters”. See README, {WRONG_FILE}.", now=now,
        )  # fmt: skip


def _names(keys: Iterable[UUID]) -> str:
    return ", ".join(map(str, keys))
