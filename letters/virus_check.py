"""The virus check of a precompiled PDF: of the file as it is, and of what it keeps packed."""

import os
import time
from datetime import timedelta
from typing import BinaryIO

from django.conf import settings

from letters import clamd
from letters.pdf_checks import taken_apart


def virus_in(file: BinaryIO, *, refused: bool = False, within: timedelta | None = None) -> str:
    """Return what the scanner finds in a PDF, or "".

    Besides the file itself it is shown the file's parts, unpacked: the scanner does not unpack all of them, such as
    what is packed twice, attachments and encrypted files.
    refused: the PDF is not printed whatever is found, so the parts that can be had will do: what needs a password
    remains unseen. One that may be printed is clean only when all its parts but pictures were seen.
    within: wall clock of both scans together, LETTER_SCAN_TIMEOUT unless said otherwise. Raises clamd.ScannerError
    where nobody knows.
    """
    within = within or settings.LETTER_SCAN_TIMEOUT
    found, trouble, until = "", None, time.monotonic() + within.total_seconds()
    try:
        found = clamd.scan(file, within=within)
    except clamd.Declined as error:  # its parts may still be judged
        trouble = error
    if not found:
        with taken_apart(file) as parts:
            left = timedelta(seconds=max(1.0, until - time.monotonic()))
            found = clamd.scan(parts.file, within=left) if parts.file.seek(0, os.SEEK_END) else ""
        if not (parts.all or refused):
            trouble = trouble or clamd.Declined("a PDF could not be taken apart for the virus scanner")
    if trouble and not found:
        raise trouble
    return found
