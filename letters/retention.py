"""What letters have to go with a notification: the letter and its PDF."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from letters import files
from letters.models import Letter
from notify.bulk import among


def run(keys: Sequence[UUID], *, now: datetime) -> int:
    """Delete the letters of these notifications, files first: cut off in between, the next run finds the row again.

    Returns how many letters went. A storage's error ends the batch with nothing deleted from the database.
    """
    if not keys:
        return 0
    letters = list(Letter.objects.filter(pk__in=among(keys)).select_related("notification"))
    for letter in letters:
        if letter.pdf:
            files.storage_of(letter).delete(letter.pdf.name)
    return Letter.objects.filter(pk__in=among(letter.pk for letter in letters)).delete()[0] if letters else 0
