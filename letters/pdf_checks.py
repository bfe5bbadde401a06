"""Whether a stranger's PDF may be printed: judged in a child process that can do no harm when the file is hostile.

The child (letters/pdf_check_child.py) has 1 GB of address space, 30 seconds of CPU, no environment, and can open
neither file nor socket. Every way it can end is mapped to a verdict here, so that a file can neither take this process
down nor fill its memory: the file is handed over as an open file and never read in here.
"""

import json
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from django.conf import settings

logger = logging.getLogger(__name__)
CHILD = Path(__file__).with_name("pdf_check_child.py")
UNPACKER = Path(__file__).with_name("pdf_unpack_child.py")
MEMORY, CPU, WALL = 1_000_000_000, 30, 60  # bytes; seconds of CPU; seconds by the clock
_EXHAUSTED = {signal.SIGXCPU, signal.SIGKILL, signal.SIGABRT}  # time, memory, memory in a C++ library
_TOO_COMPLEX = "The PDF could not be read within the limits of memory and time. Export it in a simpler form."
_DAMAGED = "The PDF could not be read. Export the letter again and upload the new file."
CODES = frozenset({
    "PDF_NOT_PDF", "PDF_DAMAGED", "PDF_ENCRYPTED", "PDF_RESTRICTED", "PDF_TOO_COMPLEX", "PDF_PAGES",
    "PDF_ACTIVE_CONTENT", "PDF_PAGE_SIZE",
})  # fmt: skip


class CheckerBroken(RuntimeError):
    """The child itself does not work here (a library is missing); this says nothing about the file."""


@dataclass(frozen=True)
class Checked:
    """A PDF that may be printed once it is found clean."""

    pages: int


@dataclass(frozen=True)
class Parts:
    """What a PDF keeps packed, as a tar; all: nothing is missing."""

    file: IO[bytes]
    all: bool


@dataclass(frozen=True)
class Problem:
    """A PDF that may not be printed. code is stable; the sentence is for the sender and says what to do."""

    code: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code}: {self.sentence}"


def check_pdf(file: BinaryIO, *, cpu: int = CPU, wall: float = WALL, memory: int = MEMORY) -> Checked | Problem:
    """Judge a PDF.

    file: open for reading, with a file descriptor; its position is moved to the start.
    cpu, wall: seconds; memory: bytes.
    Raises CheckerBroken where the check cannot be made at all.
    """
    file.flush()
    file.seek(0)
    limits = [str(number) for number in (settings.LETTER_PAGES_LIMIT, memory, cpu)]
    command = [sys.executable, "-I", "-X", "utf8", str(CHILD), *limits]
    try:
        done = subprocess.run(  # noqa: S603  (our own file; nothing of the sender's is in the command)
            command, stdin=file, capture_output=True, timeout=wall, env={}, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        return Problem("PDF_TOO_COMPLEX", _TOO_COMPLEX)
    finally:
        file.seek(0)
    return _verdict(done)


@contextmanager
def taken_apart(file: BinaryIO, *, cpu: int = 10, wall: float = 20) -> Iterator[Parts]:
    """Give a tar of what a PDF keeps packed, for the virus scanner; as much of it as can be had, perhaps nothing.

    file: open for reading, with a file descriptor. cpu, wall: seconds.
    """
    file.flush()
    file.seek(0)
    limits = [str(number) for number in (MEMORY, cpu, settings.LETTER_FILE_BYTES_LIMIT)]
    command = [sys.executable, "-I", "-X", "utf8", str(UNPACKER), *limits]
    ended = None
    with tempfile.TemporaryFile() as parts:
        with suppress(subprocess.TimeoutExpired):
            ended = subprocess.run(  # noqa: S603  (our own file; nothing of the sender's is in the command)
                command, stdin=file, stdout=parts, stderr=subprocess.DEVNULL, timeout=wall, env={}, cwd="/", check=False
            )
        file.seek(0)
        parts.seek(0)
        yield Parts(parts, all=ended is not None and ended.returncode == 0)


def _verdict(done: subprocess.CompletedProcess) -> Checked | Problem:
    """Read how the child ended."""
    if done.returncode < 0:
        logger.info("A PDF's check was ended by signal %s", -done.returncode, extra={"count": -done.returncode})
        exhausted = -done.returncode in _EXHAUSTED
        return Problem("PDF_TOO_COMPLEX", _TOO_COMPLEX) if exhausted else Problem("PDF_DAMAGED", _DAMAGED)
    try:
        answer = json.loads(done.stdout)
        if "pages" in answer:
            return Checked(int(answer["pages"]))
        if answer["code"] in CODES:
            return Problem(answer["code"], answer["text"] or _TOO_COMPLEX)
    except (ValueError, KeyError, TypeError):
        pass
    if done.stderr.rstrip().endswith(b"MemoryError"):
        return Problem("PDF_TOO_COMPLEX", _TOO_COMPLEX)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise CheckerBroken(f"The check of PDFs does not work: {lines[-1][:200] if lines else 'it ended without a word'}")
