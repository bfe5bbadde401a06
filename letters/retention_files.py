"""The files of letters that are about to go: deleted before their rows and outside any transaction."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from letters import files
from letters.models import Letter
from notify.bulk import among


def run(keys: Sequence[UUID], *, now: datetime) -> int:
    """Delete the PDFs of these letters; one that is gone already is no error. Returns how many were named.

    A storage's error ends the batch with no row deleted: it is tried again with its rows.
    """
    letters = Letter.objects.filter(pk__in=among(keys)).exclude(pdf="").select_related("notification")
    for letter in letters:
        files.storage_of(letter).delete(letter.pdf.name)
    return len(letters)
