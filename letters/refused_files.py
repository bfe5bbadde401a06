"""The virus check of a PDF that is refused anyway: whoever looks into it must know what it holds."""

import os
from datetime import timedelta
from typing import BinaryIO

from letters import clamd
from letters.pdf_checks import taken_apart


def virus_in(file: BinaryIO, *, within: timedelta | None = None) -> str:
    """Return what the scanner finds in a refused PDF, or "".

    Besides the file itself it is shown the file's parts, unpacked: attachments and encrypted files are what such a PDF
    is refused for, and the scanner does not unpack all of them. What needs a password remains unseen.
    within: wall clock of each of the two scans. Raises clamd.ScannerError where nobody knows.
    """
    found, trouble = "", None
    try:
        found = clamd.scan(file, within=within)
    except clamd.Declined as error:  # its parts may still be judged
        trouble = error
    if not found:
        with taken_apart(file) as parts:
            found = clamd.scan(parts, within=within) if parts.seek(0, os.SEEK_END) else ""
    if trouble and not found:
        raise trouble
    return found
