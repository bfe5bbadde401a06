"""An uploaded PDF becomes a precompiled letter: checked here, scanned for viruses by a loop, then printed as it is.

A file that may not be printed becomes a letter too, born `validation-failed` with the reason, so that its owner sees
and is told what became of it; the file stays in `letters-invalid` for whoever has to look.
"""

import hashlib
import logging
import secrets
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import IO, BinaryIO, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction

from callbacks import outcomes
from letters import clamd, files, precompiled_rows
from letters.models import Letter
from letters.pdf_checks import Checked, CheckerBroken, check_pdf
from letters.precompiled_rows import template_of
from letters.scan_alerts import alert_virus
from letters.virus_check import virus_in
from notify.clock import local_date
from notify.file_names import shown_name
from notify.models import Notification, NotificationType, Service, Template

logger = logging.getLogger(__name__)
Status = Notification.Status
ADDRESS_LINES, ADDRESS_LINE_LIMIT = 7, 200
_ASKED_FOR = timedelta(seconds=10)  # the uploader waits meanwhile
_CHUNK = 1_000_000  # bytes read at a time


class LetterRefused(Exception):
    """No letter is made and nothing is stored; `code` is stable, the text is for the sender."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {self.args[0]}"


@dataclass(frozen=True)
class Upload:
    """What comes with a file. letter_id: made by whoever shows the form, so that submitting it twice makes one letter.

    address: of the recipient, one line each, for finding the letter again; what is printed is in the PDF.
    """

    letter_id: UUID
    service: Service
    file_name: str
    postage: str = Template.Postage.SECOND
    reference: str = ""
    address: tuple[str, ...] = ()


class _Judged(NamedTuple):
    """What becomes of the file."""

    status: str
    reason: str
    pages: int | None
    virus: str = ""
    unscanned: bool = False  # nobody could say what a refused file holds: the scanning loop finds out


def upload_letter(stream: BinaryIO, upload: Upload, *, now: datetime) -> Letter:
    """Make a letter of a PDF. The caller nudges `letters.scan_letters` and the callbacks after commit.

    stream: read once, in pieces, and no further than LETTER_FILE_BYTES_LIMIT. now: the moment (aware, UTC).
    The file is stored first and the row second: cut off in between, there is a file that no row names, which the
    scanning loop removes after a day (letters/strays.py), and never a letter without its file.
    Returns the letter; the one that exists where its id was submitted before. Raises LetterRefused.
    """
    made = _made_before(upload)
    if made is not None:
        return made
    upload = refuse_unfit(upload, now=now)
    with tempfile.TemporaryFile() as copy:
        digest, size = _copy(stream, copy)
        judged = _judge(copy, size)
        return _store(upload, copy if size >= 0 else None, digest, judged, now=now)


def refuse_unfit(upload: Upload, *, now: datetime) -> Upload:
    """Raise LetterRefused where no letter may be made of any file. Returns the upload with its texts tidied."""
    if not upload.service.active:
        raise LetterRefused("SERVICE_INACTIVE", f"{upload.service} is switched off; switch it on before sending.")
    if upload.postage not in Template.Postage.values:
        raise LetterRefused("POSTAGE_UNKNOWN", f"Choose one of {', '.join(Template.Postage.values)}.")
    reference = upload.reference.strip()
    if len(reference) > 255 or not (reference.isprintable() or not reference):
        raise LetterRefused("REFERENCE_INVALID", "A reference is one line of at most 255 printable characters.")
    address = tuple(line.strip() for line in upload.address if line.strip())
    if len(address) > ADDRESS_LINES or not all(len(a) <= ADDRESS_LINE_LIMIT and a.isprintable() for a in address):
        text = f"An address is at most {ADDRESS_LINES} lines of at most {ADDRESS_LINE_LIMIT} printable characters."
        raise LetterRefused("ADDRESS_INVALID", text)
    _refuse_over_limit(upload.service, now=now)
    return replace(upload, reference=reference, address=address)


def stored_name(letter_id: UUID, now: datetime) -> str:
    """Return a name for a letter's file in each storage, by its local day.

    Each call gives another: of two submissions at once the one that loses removes its own file, and some storages
    write over a name that is taken.
    """
    return f"{local_date(now):%Y-%m-%d}/{letter_id}-{secrets.token_hex(4)}.pdf"


def _made_before(upload: Upload) -> Letter | None:
    letter = Letter.objects.select_related("notification").filter(pk=upload.letter_id).first()
    if letter is None and not Notification.objects.filter(pk=upload.letter_id).exists():
        return None
    mine = letter is not None and letter.notification.service_id == upload.service.pk
    if not mine or letter.kind != Letter.Kind.PRECOMPILED:
        raise LetterRefused("LETTER_ID_TAKEN", "The id belongs to another message. Open the form anew.")
    return letter


def _refuse_over_limit(service: Service, *, now: datetime) -> None:
    made = Notification.objects.counted_today(now, service=service, notification_type=NotificationType.LETTER)
    if made.count() >= service.letter_daily_limit:
        raise LetterRefused(
            "DAILY_LIMIT",
            f"{service} has made the {service.letter_daily_limit:,} letters it may make today. Upload the letter "
            "tomorrow, or ask an operator for a higher limit.",
        )


def _copy(stream: BinaryIO, copy: IO[bytes]) -> tuple[str, int]:
    """Copy the stream in pieces; reading ends at the limit. Returns hash and size in bytes, -1 where it is over."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(_CHUNK):
        size += len(piece)
        if size > settings.LETTER_FILE_BYTES_LIMIT:
            copy.truncate(0)
            return "", -1
        digest.update(piece)
        copy.write(piece)
    copy.flush()
    return digest.hexdigest(), size


def _judge(copy: IO[bytes], size: int) -> _Judged:
    """Check the file. What may not be printed is shown to the scanner at once, where there is one: it says why."""
    if size < 0:
        limit = settings.LETTER_FILE_BYTES_LIMIT // 1_000_000
        text = f"UPLOAD_TOO_LARGE: The file is larger than {limit} MB. Use smaller pictures."
        return _Judged(Status.VALIDATION_FAILED, text, None)
    try:
        checked = check_pdf(copy)
    except CheckerBroken as error:
        logger.warning("PDFs cannot be checked here", exc_info=error)
        text = "PDFs cannot be checked on this machine just now. Tell an operator, and upload the letter again later."
        raise LetterRefused("PDF_CHECK_UNAVAILABLE", text) from error
    if isinstance(checked, Checked):
        return _Judged(Status.PENDING_VIRUS_CHECK, "", checked.pages)
    virus = _virus_in(copy) if size else ""
    if virus:
        return _Judged(Status.VIRUS_SCAN_FAILED, f"VIRUS_FOUND: {virus}", None, virus)
    return _Judged(Status.VALIDATION_FAILED, str(checked)[:300], None, unscanned=virus is None)


def _virus_in(copy: IO[bytes]) -> str | None:
    """Return what the scanner finds in a file that is refused anyway; None where it has no answer."""
    try:
        return virus_in(copy, refused=True, within=_ASKED_FOR)
    except clamd.ScannerError:
        return None


def _store(upload: Upload, copy: IO[bytes] | None, digest: str, judged: _Judged, *, now: datetime) -> Letter:
    """Store file and rows; of two submissions at once one wins and the other returns its letter."""
    storage, name = storages[files.alias_for(judged.status)], ""
    if copy is not None:
        name = _save(storage, stored_name(upload.letter_id, now), copy)
    try:
        with transaction.atomic():
            letter = _insert(upload, name, digest, judged, now=now)
            if letter is None:
                transaction.set_rollback(True)
    except BaseException:
        _discard(storage, name)
        raise
    if letter is None:
        _discard(storage, name)
        return _made_before(upload) or _gone()
    logger.info("Letter %s: %s", letter.pk, judged.status, extra={"notification_id": str(letter.pk)})
    return letter


def _save(storage: Storage, name: str, copy: IO[bytes]) -> str:
    copy.seek(0)
    try:
        return storage.save(name, File(copy))
    except Exception as error:  # each storage has errors of its own
        logger.warning("An uploaded PDF was not stored", exc_info=error)
        text = "The file could not be stored just now. Tell an operator, and upload the letter again later."
        raise LetterRefused("STORAGE_UNAVAILABLE", text) from error


def _insert(upload: Upload, name: str, digest: str, judged: _Judged, *, now: datetime) -> Letter | None:
    """Write notification, callback and letter; None where the id exists already."""
    # Locked, so that of two uploads for the day's last letter one is refused.
    service = Service.objects.select_for_update(no_key=True).get(pk=upload.service.pk)
    final = judged.status in Notification.FINAL
    line = precompiled_rows.line(
        upload.letter_id, template_of(service), status=judged.status, reason=judged.reason,
        recipient="\n".join(upload.address), reference=upload.reference, now=now,
    )  # fmt: skip
    born_final = [upload.letter_id] if final else []
    if not outcomes.settle_new(precompiled_rows.COLUMNS, [line], born_final=born_final, now=now):
        return None
    letter = Letter(
        notification_id=upload.letter_id,
        kind=Letter.Kind.PRECOMPILED,
        pdf=name,
        sha256=digest,
        pages=judged.pages,
        postage=upload.postage,
        original_file_name=shown_name(upload.file_name, "letter.pdf"),
        due_at=now if judged.unscanned or not final else None,
    )
    if judged.virus:
        letter.scan_verdict, letter.scanned_sha256, letter.scanned_at = Letter.Verdict.INFECTED, digest, now
        alert_virus(upload.letter_id, service, judged.virus, now=now)
    letter.save(force_insert=True)
    made = Notification.objects.counted_today(now, service=service, notification_type=NotificationType.LETTER)
    if not service.active or (not final and made.count() > service.letter_daily_limit):
        refuse_unfit(replace(upload, service=service), now=now)  # says which; what was written is undone
    return letter


def _discard(storage: Storage, name: str) -> None:
    if name:
        storage.delete(name)


def _gone() -> Letter:
    raise LetterRefused("LETTER_GONE", "The letter was made and deleted meanwhile. Open the form anew.")
