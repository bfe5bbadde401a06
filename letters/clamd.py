"""Our own client of clamd, the virus scanner: one INSTREAM per file, over its local socket or TCP.

ScannerError
├── Away      it cannot be reached, cut the line, took too long, or lets the test virus through: nothing is known
└── Declined  it did not judge this very file (over its size limit, say), and is well: nothing is known either
clamd says OK to an empty stream, so an empty file is never asked about. A clean answer is believed only while the
scanner has shown lately that it finds the test virus (`self_test`), also at the end of a file
as large as this one (`_prove`): a file over its MaxFileSize or MaxScanSize it may call clean unseen.
"""

import os
import socket
import tarfile
import tempfile
import time
from contextlib import closing, suppress
from datetime import timedelta
from typing import BinaryIO

from django.conf import settings

TESTED_FOR = 600.0  # seconds a passed self-test is believed
CHUNK = 64 * 1024  # bytes
_NOT_LOOKED_INTO = "Heuristics.Limits.Exceeded"  # with AlertExceedsMax: no virus, and no clean bill either
_ANSWER_LIMIT = 4_096  # bytes
_CONNECT = 5.0  # seconds
_BLOCK = tarfile.BLOCKSIZE  # bytes
_TEST_WITHIN = 10.0  # seconds
# The EICAR test file, in two parts so that no scanner takes offence at this one.
_EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
_passed: dict[str, float] = {}  # address → monotonic moment of the last passed self-test
_proven: dict[str, int] = {}  # address → bytes of the largest file in which it has found it since


class ScannerError(Exception):
    """There is no verdict; the text says why, without anything of the file."""


class Away(ScannerError):
    """The scanner as a whole is of no use just now."""


class Declined(ScannerError):
    """The scanner did not judge this file."""


def scan(file: BinaryIO, *, within: timedelta | None = None) -> str:
    """Return "" where the file is clean, else the name of what was found. Raises ScannerError where nobody knows.

    file: read from its start. within: wall clock, LETTER_SCAN_TIMEOUT unless said otherwise; self-tests come on top.
    """
    until = time.monotonic() + (within or settings.LETTER_SCAN_TIMEOUT).total_seconds()
    self_test()
    file.seek(0)
    first = file.read(CHUNK)
    if not first:
        raise Declined("the file is empty")
    try:
        virus = _ask(first, file, until)
        if not virus:
            _prove(file.seek(0, os.SEEK_END), until)
        return virus
    except Away as trouble:
        _passed.clear()
        self_test()  # raises where the scanner is away; one that is well had its trouble with this very file
        raise Declined(str(trouble)) from None


def self_test() -> None:
    """Make sure the scanner finds the test virus; remembered for TESTED_FOR seconds. Raises ScannerError."""
    address = settings.CLAMD_SOCKET
    if not address:
        raise Away("CLAMD_SOCKET is not set, so no virus scanner is asked")
    if time.monotonic() - _passed.get(address, -TESTED_FOR) < TESTED_FOR:
        return
    if not _ask(_EICAR, None, time.monotonic() + _TEST_WITHIN):
        raise Away("the virus scanner let the EICAR test file through; are its signatures loaded?")
    _passed[address], _proven[address] = time.monotonic(), len(_EICAR)


def _prove(size: int, until: float) -> None:
    """Make sure that files of this size (bytes) are looked into to their end. Raises Declined where they are not.

    One probe as large as a letter may be does for all; only a scanner with lower limits is asked again for each size.
    """
    address, limit = settings.CLAMD_SOCKET, settings.LETTER_FILE_BYTES_LIMIT
    if size <= _proven.get(address, 0):
        return
    if size < limit:
        with suppress(Away):  # the line is cut where StreamMaxLength is lower
            if _finds_at_the_end(limit, until):
                _proven[address] = limit
                return
    if _finds_at_the_end(size, until):
        _proven[address] = size
        return
    raise Declined(
        f"the virus scanner does not look into a file of {size:,} bytes to its end; in clamd.conf set StreamMaxLength "
        f"and MaxFileSize to at least {limit:,}, MaxScanSize to four times that, "
        "and ScanArchive and AlertExceedsMax to yes"
    )


def _finds_at_the_end(size: int, until: float) -> bool:
    """Whether the test virus is found behind padding; in a tar, because signatures may begin at a file's first byte."""
    padding, virus = tarfile.TarInfo("padding"), tarfile.TarInfo("eicar.com")
    padding.size, virus.size = max(0, size // _BLOCK - 3) * _BLOCK, len(_EICAR)
    with tempfile.TemporaryFile() as probe:
        probe.write(padding.tobuf())
        probe.seek(padding.size, os.SEEK_CUR)
        probe.write(virus.tobuf() + _EICAR)
        probe.truncate(max(size, probe.tell()))
        probe.seek(0)
        try:
            return bool(_ask(probe.read(CHUNK), probe, until))
        except Declined:
            return False


def _ask(first: bytes, rest: BinaryIO | None, until: float) -> str:
    """Send one stream and read the verdict. until: the monotonic moment at which there must be one."""
    try:
        with closing(_connect()) as line:
            return _verdict(_exchange(line, first, rest, until))
    except TimeoutError:
        raise Away("the virus scanner did not answer in time") from None
    except (OSError, ValueError) as error:  # ValueError: CLAMD_SOCKET is neither a path nor host:port
        reason = getattr(error, "strerror", "") or type(error).__name__
        raise Away(f"the virus scanner cannot be reached ({reason[:100]})") from None


def _connect() -> socket.socket:
    """Open the line."""
    address = settings.CLAMD_SOCKET
    if "/" not in address:
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT)
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(_CONNECT)
        line.connect(address)
    except BaseException:
        line.close()
        raise
    return line


def _exchange(line: socket.socket, first: bytes, rest: BinaryIO | None, until: float) -> bytes:
    """Send the stream in chunks and return the answer. A line cut while sending may still hold an answer."""
    sent = 0
    try:
        _send(line, b"zINSTREAM\0", until)
        chunk = first
        while chunk:
            _send(line, len(chunk).to_bytes(4, "big") + chunk, until)
            sent += len(chunk)
            chunk = rest.read(CHUNK) if rest else b""
        _send(line, bytes(4), until)
        return _receive(line, until)
    except ConnectionError:
        answer = _left(line)
        if answer:
            return answer
        raise Away(
            f"the virus scanner cut the line after {sent:,} bytes: it ended, or its StreamMaxLength is lower"
        ) from None


def _send(line: socket.socket, data: bytes, until: float) -> None:
    line.settimeout(max(0.001, until - time.monotonic()))
    line.sendall(data)


def _receive(line: socket.socket, until: float) -> bytes:
    """Read to the closing zero byte."""
    answer = b""
    while not answer.endswith(b"\0") and len(answer) < _ANSWER_LIMIT:
        line.settimeout(max(0.001, until - time.monotonic()))
        part = line.recv(_ANSWER_LIMIT)
        if not part:
            raise ConnectionResetError
        answer += part
    return answer


def _left(line: socket.socket) -> bytes:
    """Return a whole answer that came before the line was cut, or nothing."""
    try:
        return _receive(line, time.monotonic() + 1)
    except OSError:
        return b""


def _verdict(answer: bytes) -> str:
    """Read `stream: OK`, `stream: NAME FOUND` or `… ERROR`; anything else is no verdict."""
    text = answer.rstrip(b"\0\n").decode("ascii", "replace")
    if text == "stream: OK":
        return ""
    if text.startswith("stream: ") and text.endswith(" FOUND") and len(text) > len("stream:  FOUND"):
        found = text.removeprefix("stream: ").removesuffix(" FOUND")[:200]
        if found.startswith(_NOT_LOOKED_INTO):
            raise Declined(f"the file is over the virus scanner's limits ({found})")
        return found
    if text.endswith("ERROR"):
        raise Declined(f"the virus scanner declined the file: {text.removesuffix('ERROR').strip(' .')[:150]}")
    raise Away("the virus scanner gave an answer that is none")
