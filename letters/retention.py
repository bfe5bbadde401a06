"""What of letters goes: with a notification its letter and PDF; by their own age, zips that were acknowledged."""

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from letters import files, postal
from letters.models import Letter, PrintFile
from notify.alerts import close_alert, raise_alert
from notify.bulk import among
from notify.models import NotificationType

logger = logging.getLogger(__name__)
FAILED = "retention-failed"
ZIPS = "zips"  # the alert's scope
_BATCH = 100  # zips
_TRIED_FOR = 10.0  # seconds of a batch in which some cannot be deleted: where the storage is away, each may time out


def run(keys: Sequence[UUID | str], *, now: datetime, kind: str) -> int:
    """Delete the letters of these notifications, whose files are gone already (retention_files.py).

    kind: the channel of all of them; only letters have letters. Without keys and channel the zips are meant.
    Returns how many letters (or zips) went.
    """
    if not keys and not kind:
        return _remove_zips(now=now)
    if not keys or kind != NotificationType.LETTER:
        return 0
    return Letter.objects.filter(pk__in=among(keys)).delete()[0]


def _remove_zips(*, now: datetime) -> int:
    """Delete a batch of zips that were acknowledged long ago, each file before its row says so.

    Cut off in between, the next run deletes what is gone already and marks it. Those the storage will not delete,
    however many, keep no other from going and are alerted; they raise nothing: the floors below have their turn.
    """
    removed, failed, until = [], "", time.monotonic() + _TRIED_FOR
    for file in PrintFile.objects.removable(now):
        if len(removed) == _BATCH or (failed and time.monotonic() >= until):
            break
        try:
            postal.postal_storage().delete(file.name)
            removed.append(file.pk)
        except Exception as error:  # each storage has errors of its own
            logger.warning("Zip %s was not deleted", file.name, exc_info=error)
            failed = type(error).__name__
    gone = PrintFile.objects.removable(now).filter(pk__in=removed).order_by().update(removed_at=now) if removed else 0
    if failed:
        raise_alert(
            FAILED, ZIPS,
            f"Zips past their time could not be deleted from the storage {files.POSTAL} ({failed}). They hold letters "
            f"and are tried again every night. See that we may delete there. See README, {FAILED}.", now=now,
        )  # fmt: skip
    elif not PrintFile.objects.removable(now).exists():
        close_alert(FAILED, ZIPS, now=now)
    return gone
