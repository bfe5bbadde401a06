"""Letters packed for the postal provider. The same letters always give the same bytes and the same name.

PDFs are compressed already, so a zip only stores them; one PDF at a time is read, and the zip grows in a temporary
file, so memory does not grow with the number of letters.
"""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import IO

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import Storage

from letters.models import Letter

_CHUNK = 256_000  # bytes read at a time
_IN_MEMORY = 2_000_000  # bytes of a PDF; a larger one waits on disk
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can name
_MODE = 0o100644 << 16
_UNIX = 3


class WrongFile(Exception):
    """A letter's PDF is not what its row says; the text says how: “is missing”."""


class UnreadableFile(Exception):
    """The storage did not give a letter's PDF, which says nothing of the letter; the text is the error's class."""


@dataclass
class Pdf:
    """A letter's PDF, read whole and found to be the bytes its row names; whoever asked for it closes the file."""

    file: IO[bytes]
    size: int


@dataclass
class Bundle:
    """A zip that is being filled, in a temporary file."""

    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    letters: list[Letter] = field(default_factory=list)
    pdf_bytes: int = 0

    def __post_init__(self) -> None:
        self._zip = zipfile.ZipFile(self.file, "w", zipfile.ZIP_STORED)

    def fits(self, pdf: Pdf) -> bool:
        """Say whether one more passes no limit; the first always fits, so an oversized PDF travels alone."""
        within = len(self.letters) < settings.LETTER_ZIP_FILES_LIMIT
        return not self.letters or (within and self.pdf_bytes + pdf.size <= settings.LETTER_ZIP_BYTES_LIMIT)

    def add(self, letter: Letter, pdf: Pdf) -> None:
        """Put a letter's PDF in, under the id of its message."""
        info = zipfile.ZipInfo(member_name(letter), _EPOCH)
        info.external_attr, info.create_system, info.file_size = _MODE, _UNIX, pdf.size
        with self._zip.open(info, "w") as out:
            shutil.copyfileobj(pdf.file, out, _CHUNK)
        self.letters.append(letter)
        self.pdf_bytes += pdf.size

    def seal(self) -> tuple[str, int]:
        """End the zip. Returns the sha256 and the size of its bytes."""
        self._zip.close()
        self.file.seek(0)
        digest = hashlib.file_digest(self.file, "sha256").hexdigest()
        return digest, self.file.tell()

    @property
    def sheets(self) -> int:
        """Sheets of paper, two pages each."""
        return sum(sheets(letter) for letter in self.letters)

    def close(self) -> None:
        """Throw the temporary file away."""
        self._zip.close()
        self.file.close()


def member_name(letter: Letter) -> str:
    """Return a letter's name inside its zip."""
    return f"{letter.pk}.pdf"


def sheets(letter: Letter) -> int:
    """Return a letter's sheets of paper, printed on both sides."""
    return ((letter.pages or 1) + 1) // 2


def zip_name(day: date, postage: str, sequence: int, letters: list[Letter]) -> str:
    """Return a zip's name: day, postage, sequence, and a hash of its members' names and bytes."""
    members = hashlib.sha256()
    for letter in letters:
        members.update(f"{member_name(letter)} {letter.sha256}\n".encode())
    return f"NOTIFY.{day}.{postage}.{sequence:04d}.{members.hexdigest()[:20]}.zip"


def read_pdf(letter: Letter, storage: Storage, beat: Callable[[], None]) -> Pdf:
    """Read a letter's PDF. Raises WrongFile where it is missing or not the bytes its row names.

    beat: called with each piece, and once the file is open.
    Raises UnreadableFile for any other error of the storage: the letter is not to blame for it.
    """
    spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  (closed by the caller)
    digest = hashlib.sha256()
    try:
        for piece in _pieces(letter.pdf.name, storage):
            beat()
            digest.update(piece)
            spool.write(piece)
        if digest.hexdigest() != letter.sha256:
            raise WrongFile("is not the one that was made or scanned")
        size = spool.tell()
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return Pdf(spool, size)


def _pieces(name: str, storage: Storage) -> Iterator[bytes]:
    """Give a file piece by piece, the first one empty. Only the storage's errors are translated, not the reader's."""
    try:
        with storage.open(name, "rb") as source:
            yield b""
            while piece := source.read(_CHUNK):
                yield piece
    except FileNotFoundError:
        raise WrongFile("is missing") from None
    except (IsADirectoryError, SuspiciousFileOperation):
        raise WrongFile("has a name that means no file") from None
    except SoftTimeLimitExceeded:
        raise  # the worker's time is up: no fault of the storage
    except Exception as error:
        raise UnreadableFile(type(error).__name__) from error
