"""Moving a letter's file from storage to storage, so that it can be cut off anywhere and done again.

A file is copied first, then the row says so, then the copies that are no longer meant are removed. A file that is
already where it should be is left alone: somebody may be reading it.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from django.core.files import File
from django.core.files.storage import storages

from letters import files
from letters.models import Letter
from notify.models import Notification

_CHUNK = 1_000_000  # bytes read at a time


class PlaceTaken(Exception):
    """Somebody else wrote a file of this name at the same moment."""


@dataclass(frozen=True)
class Copy:
    """The bytes as they were read, once: what is hashed is what is scanned and what is passed on."""

    file: IO[bytes]
    sha256: str
    size: int


@contextmanager
def fetched(letter: Letter) -> Iterator[Copy]:
    """Fetch a letter's file from where its status says it lies. Raises FileNotFoundError or a storage's own error."""
    if not letter.pdf.name:
        raise FileNotFoundError("the letter names no file")
    with tempfile.TemporaryFile() as copy:
        digest, size = hashlib.sha256(), 0
        with files.storage_of(letter).open(letter.pdf.name, "rb") as stored:
            while piece := stored.read(_CHUNK):
                digest.update(piece)
                size += len(piece)
                copy.write(piece)
        copy.flush()
        yield Copy(copy, digest.hexdigest(), size)


def place(copy: Copy, alias: str, name: str) -> None:
    """Make sure that storage `alias` has exactly these bytes under this name. Raises PlaceTaken."""
    storage = storages[alias]
    if storage.exists(name):
        if _sha256(alias, name) == copy.sha256:
            return
        storage.delete(name)
    copy.file.seek(0)
    given = storage.save(name, File(copy.file))
    if given != name:
        storage.delete(given)
        raise PlaceTaken(name)


def tidy(letter: Letter) -> None:
    """Remove a letter's copies from where its status, as it is now, does not want them.

    While it waits for its check nothing is removed: whoever holds it may just have placed a copy, and tidies later.
    """
    letter.notification.refresh_from_db(fields=["status"])
    if letter.notification.status == Notification.Status.PENDING_VIRUS_CHECK:
        return
    meant = files.alias_of(letter)
    for alias in {files.SCAN, files.PDF, files.INVALID} - {meant}:
        storage = storages[alias]
        if letter.pdf.name and storage.exists(letter.pdf.name):
            storage.delete(letter.pdf.name)


def _sha256(alias: str, name: str) -> str:
    digest = hashlib.sha256()
    with storages[alias].open(name, "rb") as stored:
        while piece := stored.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
