"""What letters have to go with a notification: the letter and its PDF."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from letters import files
from letters.models import Letter


def run(keys: Sequence[UUID], *, now: datetime) -> int:
    """Delete the letters of these notifications, files first: cut off in between, the next run finds the row again.

    Returns how many letters went. A storage's error ends the batch with nothing deleted from the database.
    """
    if not keys:
        return 0
    letters = Letter.objects.filter(pk__in=keys)
    for letter in letters.exclude(pdf="").select_related("notification"):
        files.storage_of(letter).delete(letter.pdf.name)
    return letters.delete()[0]
