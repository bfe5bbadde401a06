"""Reading the body of a receipt: no more than the limit, whole or not at all, and within a time by the wall clock."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from django.http import HttpRequest


class TooLarge(Exception):
    """The body is over the limit; size: what it says of itself, in bytes, or as far as it was read."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class CutOff(Exception):
    """The line was cut, or the sender took too long: what came is not the whole body."""


def read_body(request: HttpRequest, *, limit: int, within: timedelta) -> bytes:
    """Read the body, of at most `limit` bytes. Raises TooLarge (nothing more is read) or CutOff.

    within: the wall-clock time a sender has; after it the connection is closed, which a time-out per read would not do
    for one that sends a byte now and then. Servers that do not show their socket have to see to that themselves.
    """
    length = _length(request)
    if length is not None and length > limit:
        raise TooLarge(length)
    # Django takes a body without Content-Length (sent in chunks) for an empty one, though the server marks its end.
    stream = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    try:
        with _closing_after(request.META.get("gunicorn.socket"), within):
            body = stream.read(limit + 1)
    except Exception as error:  # each server has its own classes for a malformed body
        raise CutOff from error
    if len(body) > limit:
        raise TooLarge(len(body))
    if length is not None and len(body) < length:
        raise CutOff
    return body


def _length(request: HttpRequest) -> int | None:
    """Return what Content-Length says; None without one. One that is no number counts as over every limit."""
    text = request.META.get("CONTENT_LENGTH") or ""
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 10**18


class _Closer(threading.Thread):
    """One thread per process, which closes the connections of senders that take too long."""

    def __init__(self) -> None:
        super().__init__(name="slow senders", daemon=True)
        self.waiting: dict[object, tuple[float, socket.socket]] = {}

    def run(self) -> None:
        """Look a few times a second; a look costs microseconds."""
        while True:
            time.sleep(0.2)
            moment = time.monotonic()
            for until, line in list(self.waiting.values()):
                if until <= moment:
                    with suppress(OSError):
                        line.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads, which finds the end


_starting = threading.Lock()
_closer: _Closer | None = None


def _running_closer() -> _Closer:
    """Start the thread at its first use: threads do not live through the fork that makes a worker."""
    global _closer
    if _closer is None or not _closer.is_alive():
        with _starting:
            if _closer is None or not _closer.is_alive():
                _closer = _Closer()
                _closer.start()
    return _closer


@contextmanager
def _closing_after(line: socket.socket | None, within: timedelta) -> Iterator[None]:
    if line is None:
        yield
        return
    waiting, key = _running_closer().waiting, object()
    waiting[key] = (time.monotonic() + within.total_seconds(), line)
    try:
        yield
    finally:
        del waiting[key]
