"""CSV that leaves the system: streamed, and safe to open in a spreadsheet.

A cell that begins like a formula gets an apostrophe in front (OWASP, “CSV Injection”); a plain phone number in E.164
form keeps its plus sign, because it can be nothing else.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from notify.clock import zone

_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, value: str) -> str:
        return value


def stream(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Write CSV line by line (UTF-8 with a mark at the start, for spreadsheets); every cell quoted and made safe."""
    writer = csv.writer(_Echo(), quoting=csv.QUOTE_ALL)
    yield "\ufeff" + writer.writerow(header)
    for row in rows:
        yield writer.writerow([safe(cell) for cell in row])


def safe(value: Any) -> str:
    """Write one cell: times in local time with the zone, text that could be a formula with an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S %Z")
    text = str(value)
    if text.startswith(_RISKY) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
