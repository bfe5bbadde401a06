"""Signs of life while a print run reads or uploads files for longer than the database waits for a silent session.

A slot ends the session of a holder that asks nothing for LOOP_FROZEN_AFTER. A slow storage is no frozen worker.
"""

import time
from datetime import UTC, datetime
from typing import IO, Any

from django.conf import settings
from django.db import connection

_EVERY = 30.0  # seconds between two signs


class Pulse:
    """Notes on a print run, seldom enough to cost nothing, that somebody is working on it."""

    def __init__(self, run: int) -> None:
        """Begin now; run: the key of the print run."""
        connection.ensure_connection()
        # The driver's own: an object store's client reads from threads, which would get a session of their own.
        self._session: Any = connection.connection
        self._run, self._last = run, time.monotonic()
        self._every = min(_EVERY, settings.LOOP_FROZEN_AFTER.total_seconds() / 3)

    def beat(self) -> None:
        """Touch `PrintRun.progressed_at` where the last sign is old; raises where the session and its slot are gone."""
        if time.monotonic() - self._last < self._every:
            return
        self._last = time.monotonic()
        touched = "UPDATE letters_printrun SET progressed_at = %s WHERE id = %s"
        with self._session.cursor() as cursor:
            cursor.execute(touched, [datetime.now(UTC), self._run])


class Beating:
    """A file that gives a sign of life whenever a piece of it is read."""

    def __init__(self, file: IO[bytes], pulse: Pulse) -> None:
        self._file, self._pulse = file, pulse

    def read(self, *size: int) -> bytes:
        """Read on."""
        self._pulse.beat()
        return self._file.read(*size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
