"""Where letters' files lie: one storage alias per stage, each a folder, S3 or SFTP by settings.

A precompiled letter lies in `letters-scan` until its virus check, in `letters-invalid` when it may never be printed,
and like a templated one in `letters-pdf` when it may. The zips for the postal provider lie in `postal`. The file's
name is the same in each, so its place follows from the status alone.
"""

from typing import TYPE_CHECKING

from django.core.files.storage import Storage, storages

from notify.models import Notification

if TYPE_CHECKING:
    from letters.models import Letter

PDF, SCAN, INVALID, POSTAL = "letters-pdf", "letters-scan", "letters-invalid", "postal"
_ELSEWHERE = {
    Notification.Status.PENDING_VIRUS_CHECK: SCAN,
    Notification.Status.VALIDATION_FAILED: INVALID,
    Notification.Status.VIRUS_SCAN_FAILED: INVALID,
}


def alias_of(letter: "Letter") -> str:
    """Return the storage alias in which a letter's PDF lies (or will lie), by its status."""
    return alias_for(letter.notification.status)


def alias_for(status: str) -> str:
    """Return the storage alias in which the PDF of a letter with this status lies."""
    return _ELSEWHERE.get(Notification.Status(status), PDF)


def storage_of(letter: "Letter") -> Storage:
    """Return the storage in which a letter's PDF lies."""
    return storages[alias_of(letter)]
