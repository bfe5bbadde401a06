"""What the postal provider says of the zips it took, read back and compared with what was handed over.

It leaves files `acknowledgements/<any name>.csv` in the storage `postal`, without a header, one zip a line:

    <zip name>,<letter count>,<sha256>,<outcome>

The outcome is `accepted`, or its reason for not accepting. It writes a file under another ending and renames it when it
is whole. A file that was read lies in `acknowledgements/read/`; one with a line that makes no sense stays where it is,
is named in an alert, and is read again at the next look. Reading a file twice changes nothing. Where it says nothing, a
person may (`mark_acknowledged`).
"""

import csv
import io
import logging
import posixpath
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from celery.exceptions import SoftTimeLimitExceeded
from django.core.files.storage import Storage
from django.db import transaction

from letters import postal
from letters.models import PrintFile
from notify.alerts import close_alert, close_others, raise_alert
from notify.models import Alert

logger = logging.getLogger(__name__)
FOLDER, READ = "acknowledgements", "acknowledgements/read"
ACCEPTED = "accepted"
MISMATCH, UNREADABLE = "acknowledgement-mismatch", "acknowledgement-unreadable"
UNACKNOWLEDGED = "print-files-unacknowledged"
BYTES_LIMIT = 5_000_000  # of a file; a line has about 150
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = 4


class Unreadable(Exception):
    """A file of acknowledgements has a line that makes no sense; the text names the line."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the postal provider says of one zip."""

    name: str
    letters: int
    sha256: str
    outcome: str

    def differs(self, file: PrintFile) -> str:
        """Say how it differs from what was handed over, or "" where it agrees."""
        differences = []
        if self.letters != file.letter_count:
            differences.append(f"{self.letters:,} letters instead of {file.letter_count:,}")
        if self.sha256 != file.sha256:
            differences.append("other bytes than were handed over")
        if self.outcome.lower() != ACCEPTED:
            differences.append(f"not accepted: {self.outcome}")
        return "; ".join(differences)


def read_acknowledgements(*, now: datetime) -> dict[str, int]:
    """Read the files that lie there, mark the zips that agree, and say what does not.

    now: aware UTC. Returns how many zips were acknowledged and how many files stay unread.
    """
    storage, stays = postal.postal_storage(), {}
    acknowledged = 0
    for name in _waiting(storage):
        path = posixpath.join(FOLDER, name)
        try:
            lines = _parse(_content(storage, path))
            files = _files_of(lines)
        except FileNotFoundError:
            continue  # another worker has just read it
        except Unreadable as error:
            stays[name] = str(error)
            continue
        acknowledged += sum(_apply(line, files[line.name], now=now) for line in lines)
        with suppress(FileNotFoundError):  # another worker was faster
            postal.move(storage, path, posixpath.join(READ, name))
    _close_unacknowledged(now=now)
    _tell_unreadable(stays, now=now)
    return {"acknowledged": acknowledged, "unreadable": len(stays)}


def mark_acknowledged(keys: Iterable[int], words: str, *, now: datetime) -> list[PrintFile]:
    """Take a person's word that the postal provider has these zips; returns those that were not acknowledged before.

    Only zips that were handed over. words: who says so and why, kept with each. now: aware UTC. Their alerts close.
    """
    with transaction.atomic():
        handed_over = PrintFile.objects.filter(uploaded_at__isnull=False, acknowledged_at__isnull=True)
        files = list(handed_over.filter(pk__in=keys).order_by("pk").select_for_update())
        marked = handed_over.filter(pk__in=[file.pk for file in files])
        marked.update(acknowledged_at=now, acknowledgement=words[:300])
        named = Alert.objects.open().filter(kind=MISMATCH, scope__in=[file.name for file in files])
        named.update(resolved_at=now)
        _close_unacknowledged(now=now)
    return files


def _close_unacknowledged(*, now: datetime) -> None:
    """Close the alert with the last zip; the nightly check opens it, and names those that are left."""
    if not PrintFile.objects.unacknowledged().exists():
        close_alert(UNACKNOWLEDGED, "letters", now=now)


def _waiting(storage: Storage) -> list[str]:
    try:
        return sorted(name for name in storage.listdir(FOLDER)[1] if name.endswith(".csv"))
    except FileNotFoundError:
        return []


def _content(storage: Storage, path: str) -> str:
    try:
        if storage.size(path) > BYTES_LIMIT:
            raise Unreadable(f"it is larger than {BYTES_LIMIT:,} bytes")
        with storage.open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not written in UTF-8") from None
    except (FileNotFoundError, Unreadable, SoftTimeLimitExceeded):
        raise
    except Exception as error:  # each storage has errors of its own
        raise Unreadable(f"the storage did not give it ({type(error).__name__})") from error


def _parse(text: str) -> list[Acknowledgement]:
    lines = []
    if "\0" in text:
        raise Unreadable("it holds a NUL character")
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text), strict=True), start=1):
            if any(cells):
                lines.append(_line([cell.strip() for cell in cells], number))
    except csv.Error as error:
        raise Unreadable(f"it is no CSV ({error})") from None
    return lines


def _line(cells: list[str], number: int) -> Acknowledgement:
    if len(cells) != _FIELDS:
        raise Unreadable(f"line {number} has {len(cells)} fields instead of {_FIELDS}")
    name, letters, sha256, outcome = cells
    if not (letters.isascii() and letters.isdigit() and len(letters) < 10):
        raise Unreadable(f"line {number}: the letter count is no number")
    if not _SHA256.fullmatch(sha256.lower()):
        raise Unreadable(f"line {number}: the sha256 is not 64 hexadecimal digits")
    if not outcome:
        raise Unreadable(f"line {number}: the outcome is missing")
    return Acknowledgement(name, int(letters), sha256.lower(), outcome[:200])


def _files_of(lines: list[Acknowledgement]) -> dict[str, PrintFile]:
    files = {file.name: file for file in PrintFile.objects.filter(name__in=[line.name for line in lines])}
    unknown = [line.name for line in lines if line.name not in files]
    if unknown:
        raise Unreadable(
            f"it names {unknown[0][:100]!r}, which was never handed over, or was packed anew under another name when "
            "its print run was cut off (then ask the provider at once not to print both)"
        )
    return files


def _apply(line: Acknowledgement, file: PrintFile, *, now: datetime) -> int:
    """Mark a zip whose acknowledgement agrees, once; open an alert for one that does not."""
    difference = line.differs(file)
    if not difference:
        unmarked = PrintFile.objects.filter(pk=file.pk, acknowledged_at__isnull=True)
        close_alert(MISMATCH, file.name, now=now)
        return unmarked.update(acknowledged_at=now, acknowledgement=line.outcome)
    PrintFile.objects.filter(pk=file.pk, acknowledged_at__isnull=True).update(acknowledgement=difference[:300])
    raise_alert(
        MISMATCH, file.name,
        f"The postal provider acknowledged {file.name} ({file.letter_count:,} letters) with {difference}. Nothing was "
        f"changed. Compare with the manifest of {file.print_run.day} in the storage postal, then ask it. "
        f"See README, {MISMATCH}.", now=now,
    )  # fmt: skip
    return 0


def _tell_unreadable(stays: dict[str, str], *, now: datetime) -> None:
    scopes = {f"file {name}"[:200]: (name, why) for name, why in stays.items()}
    close_others(UNREADABLE, scopes, now=now)
    told = set(Alert.objects.open().filter(kind=UNREADABLE).values_list("scope", flat=True))
    for scope, (name, why) in scopes.items():
        if scope not in told:
            raise_alert(
                UNREADABLE, scope,
                f"The postal provider's file {FOLDER}/{name} cannot be used: {why}. None of its lines was taken, and "
                f"it is read again every few minutes. Mend or remove it. See README, {UNREADABLE}.", now=now,
            )  # fmt: skip
