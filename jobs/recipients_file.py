"""A file of recipients: which column is what, and its rows.

A file that cannot be read is refused whole (FileProblem). A row that can be read but not used keeps its place and
carries its problem. Zero-based row n is row n + 2 for people, since the header is row 1 and blank lines do not count.
"""

import difflib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, NamedTuple

from jobs.csv_records import (
    CELL_LIMIT,
    UTF_16,
    WINDOWS,
    FileProblem,
    column_name,
    control_character,
    control_message,
    detect_encoding,
    read_records,
    refuse_unreadable,
)
from notify.content import column_key, excerpt
from notify.recipients import ADDRESS_LINES, recipient_columns

FIRST_ROW = 2  # as people count
DELIMITERS = ",;\t"
OTHER_DELIMITERS = "|:^"  # recognised to be refused by name
NAMES_SHOWN = 5  # column names in one message
NOTES = {
    UTF_16: "read as UTF-16",
    WINDOWS: "read as Windows-1252",
    ";": "columns are separated by semicolons",
    "\t": "columns are separated by tabs",
}


class RowProblem(NamedTuple):
    """Why a row cannot be used; the file's other rows can."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Row(NamedTuple):
    """One row. number: from zero, below the header. values: by column_key; a cell that is not there is blank."""

    number: int
    values: dict[str, str]
    problem: RowProblem | None


class RecipientsFile:
    """A file whose header has been read.

    header: names as written; columns: their column_key, "" where a column has no name. row_count: 0 until counted.
    notes: what the sender should know of how the file was read.
    """

    def __init__(self, stream: BinaryIO, *, encoding: str, delimiter: str) -> None:
        self._stream = stream
        self.encoding = encoding
        self.delimiter = delimiter
        self.header = _header(stream, encoding, delimiter)
        self.columns = [column_key(name) for name in self.header]
        self.row_count = 0
        self.notes = [NOTES[fact] for fact in (encoding, delimiter) if fact in NOTES]
        self._unnamed = [number for number, key in enumerate(self.columns) if not key]

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from number `start` on, read anew from the file; raises FileProblem where it is unreadable.

        One reader at a time: two that take turns would read each other's bytes.
        """
        columns, width, plain = self.columns, len(self.columns), not self._unnamed
        records = read_records(self._stream, encoding=self.encoding, delimiter=self.delimiter)
        for number, cells in enumerate(islice(records, start + 1, None), start):
            text = "".join(cells)
            # Not printable are control characters and the mark of undecodable bytes, but also line breaks.
            if plain and len(cells) == width and text.isprintable() and len(text) <= CELL_LIMIT:
                yield Row(number, dict(zip(columns, cells, strict=True)), None)
            else:
                yield self._unusual_row(number, cells)

    def _unusual_row(self, number: int, cells: list[str]) -> Row:
        row, width = number + FIRST_ROW, len(self.columns)
        refuse_unreadable(cells, self.header, row=row)
        for blank in self._unnamed:
            if blank < len(cells) and cells[blank].strip():
                what = f"Column {blank + 1} has values but no name (row {row}). Name it, or remove it."
                raise FileProblem("CSV_UNNAMED_COLUMN", what, row=row, column=str(blank + 1))
        problem = self._problem(row, cells)
        padded = cells[:width] + [""] * (width - len(cells))
        values = {key: cell for key, cell in zip(self.columns, padded, strict=True) if key}
        return Row(number, values, problem)

    def _problem(self, row: int, cells: list[str]) -> RowProblem | None:
        width = len(self.columns)
        if any(map(str.strip, cells[width:])):
            what = f"Row {row} has {len(cells)} cells, the header {width}."
            what += " Put a cell that holds the separator into quotes."
            return RowProblem("CSV_EXTRA_CELLS", what)
        if found := control_character(cells):
            what = control_message(row, column_name(self.header, found[0]), found[1])
            return RowProblem("CSV_CONTROL_CHAR", what)
        return None


def read_recipients(
    stream: BinaryIO,
    *,
    placeholders: list[str],
    notification_type: str,
    encoding: str | None = None,
    max_rows: int,
    max_bytes: int,
) -> RecipientsFile:
    """Read a file from end to end and return it with its rows counted; raises FileProblem where it is refused whole.

    stream: seekable; read from its start, left open. encoding: None, or "cp1252" where the sender says so.
    """
    size = stream.seek(0, os.SEEK_END)
    if size > max_bytes:
        what = f"The file has {size:,} bytes, limit {max_bytes:,}. Split it into several."
        raise FileProblem("UPLOAD_TOO_LARGE", what)
    encoding = detect_encoding(stream, encoding)
    wanted = [*recipient_columns(notification_type), *placeholders]
    found = RecipientsFile(stream, encoding=encoding, delimiter=_delimiter(stream, encoding, wanted))
    _check_recipient_columns(found, recipient_columns(notification_type))
    _check_names(found, placeholders)
    found.row_count = sum(1 for _ in found.rows())
    if not found.row_count:
        raise FileProblem("CSV_NO_ROWS", "There is a header but no rows. Add one row for each recipient.")
    if found.row_count > max_rows:
        what = f"{found.row_count:,} rows, limit {max_rows:,}. Split the file into several."
        raise FileProblem("CSV_TOO_MANY_ROWS", what)
    return found


def open_recipients(
    stream: BinaryIO, *, encoding: str, delimiter: str, notification_type: str | None = None
) -> RecipientsFile:
    """Return a file that was accepted before, reading no more than its header.

    encoding, delimiter: as found by read_recipients. Damage shows as FileProblem while its rows are read.
    """
    return RecipientsFile(stream, encoding=encoding, delimiter=delimiter)


# --- The header -------------------------------------------------------------------------------------------------


def _header(stream: BinaryIO, encoding: str, delimiter: str) -> list[str]:
    header = next(read_records(stream, encoding=encoding, delimiter=delimiter), None)
    if header is None:
        raise FileProblem("CSV_EMPTY", "The file has only blank lines. Export it again with a header and rows.")
    refuse_unreadable(header, header, row=1)
    if found := control_character(header):
        column = column_name(header, found[0])
        raise FileProblem("CSV_CONTROL_CHAR", control_message(1, column, found[1]), row=1, column=column)
    return header


def _delimiter(stream: BinaryIO, encoding: str, wanted: Sequence[str]) -> str:
    """Return the separator by which the header holds most of the wanted columns; comma where none does."""
    keys = set(map(column_key, wanted))
    matches = {mark: _matches(stream, encoding, mark, keys) for mark in DELIMITERS + OTHER_DELIMITERS}
    best = max(matches, key=lambda mark: matches[mark])  # the first of equals
    if best in OTHER_DELIMITERS:
        what = f'Columns are separated by "{best}". Save the file with commas, semicolons or tabs between them.'
        raise FileProblem("CSV_DELIMITER", what, row=1)
    return best


def _matches(stream: BinaryIO, encoding: str, delimiter: str, keys: set[str]) -> int:
    try:
        return len(keys.intersection(map(column_key, _header(stream, encoding, delimiter))))
    except FileProblem as problem:
        if problem.code != "CSV_QUOTE":  # quotes may be right by another separator
            raise
        return 0


def _check_recipient_columns(found: RecipientsFile, names: Sequence[str]) -> None:
    present = [name for name in names if column_key(name) in found.columns]
    if len(present) >= min(len(names), ADDRESS_LINES[0]):
        return
    listed = f"a column {names[0]}" if len(names) == 1 else f"columns {names[0]} to {names[-1]}, at least three"
    what = f"The first row must name {listed}." + _near_match(column_key(names[0]), found)
    raise FileProblem("CSV_NO_RECIPIENT_COLUMN", what + " Add a header row, or rename the column.", row=1)


def _check_names(found: RecipientsFile, placeholders: Sequence[str]) -> None:
    for key, times in Counter(filter(None, found.columns)).items():
        if times > 1:
            numbers = [str(number) for number, other in enumerate(found.columns, 1) if other == key]
            name = found.header[int(numbers[0]) - 1].strip()
            what = f"Columns {' and '.join(numbers[:NAMES_SHOWN])} have the same name, {excerpt(name)}."
            what += " Rename or remove all but one."
            raise FileProblem("CSV_DUPLICATE_COLUMN", what, row=1, column=name)
    missing = [name for name in placeholders if column_key(name) not in found.columns]
    if missing:
        what = f"The template needs {_listed(missing)}; the file has {_listed(list(filter(str.strip, found.header)))}."
        what += _near_match(column_key(missing[0]), found) + " Add or rename the column."
        raise FileProblem("CSV_MISSING_COLUMN", what, row=1, column=missing[0])


def _near_match(key: str, found: RecipientsFile) -> str:
    near = difflib.get_close_matches(key, filter(None, found.columns), n=1)
    return f" Did you mean {excerpt(found.header[found.columns.index(near[0])].strip())}?" if near else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(excerpt(name.strip()) for name in names[:NAMES_SHOWN]) + more
