"""Files that no row names: left by somebody who died between storing a file and writing its row, or after it.

Of letters that wait for their virus check or may not be printed; letters-pdf is kept clean by those who write there.
"""

import logging
import time
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from django.core.files.storage import Storage, storages

from letters import files
from letters.models import Letter
from notify.loops import refuse_transaction

logger = logging.getLogger(__name__)
KEPT_FOR = timedelta(days=1)  # nobody takes that long from a file to its row
EVERY = 3_600.0  # seconds, in each process: listing a storage is not free
_last = [-EVERY]  # monotonic moment of the last look


def remove_strays(*, now: datetime, force: bool = False) -> int:
    """Remove files older than a day whose letter does not lie there, at most once an hour. Returns how many.

    force: now, whenever the last look was. A storage's error ends the look; the next one begins anew.
    """
    refuse_transaction()
    if not force and time.monotonic() - _last[0] < EVERY:
        return 0
    _last[0] = time.monotonic()
    removed = 0
    for alias in (files.SCAN, files.INVALID):
        try:
            removed += _sweep(alias, now=now)
        except Exception as error:
            logger.warning("The storage %s could not be looked through", alias, exc_info=error)
    if removed:
        logger.warning("Removed %s files that belonged to no letter", removed, extra={"count": removed})
    return removed


def _sweep(alias: str, *, now: datetime) -> int:
    storage, removed = storages[alias], 0
    with suppress(FileNotFoundError, NotADirectoryError):  # nothing was ever stored
        for folder in storage.listdir("")[0]:
            names = [f"{folder}/{name}" for name in storage.listdir(folder)[1]]
            for name in _unnamed(alias, names):
                removed += _remove_old(storage, name, now=now)
    return removed


def _unnamed(alias: str, names: list[str]) -> list[str]:
    """Return the names that are of a letter's form, but of none that lies in this storage."""
    keys = {name: key for name in names if (key := _key(name))}
    letters = Letter.objects.filter(pk__in=keys.values()).select_related("notification")
    meant = {letter.pdf.name for letter in letters if files.alias_of(letter) == alias}
    return [name for name in keys if name not in meant]


def _key(name: str) -> UUID | None:
    """Return the letter a file's name speaks of; a file that is none of ours is left alone."""
    try:
        return UUID(name.rpartition("/")[2][:36])
    except ValueError:
        return None


def _remove_old(storage: Storage, name: str, *, now: datetime) -> int:
    with suppress(FileNotFoundError):  # somebody else was first
        if storage.get_modified_time(name) < now - KEPT_FOR:
            storage.delete(name)
            return 1
    return 0
