"""Bytes of a CSV file to records, strictly and one at a time: nothing longer than a record is ever held.

Rows are numbered as a spreadsheet shows them: the header is row 1. Wholly blank lines are no rows and are not counted.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from notify.content import Problem, excerpt

CELL_LIMIT = 8_000  # characters
LINE_LIMIT = 1_000_000  # characters with the line break; room for a hundred cells of the greatest length
# A quoted cell may run over many lines; this bounds what a quote that is never closed can swallow. The limit of a cell
# is checked afterwards, where its column is known. csv knows one limit for the whole process.
csv.field_size_limit(LINE_LIMIT)

UTF_8, UTF_16, WINDOWS = "utf-8-sig", "utf-16", "cp1252"
UNREADABLE = "\udcff"  # stands for bytes that cannot be decoded; no valid text of any encoding holds it
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab and line breaks
# First bytes of gzip, zip (also .xlsx and .ods), bzip2, xz, Zstandard, 7-Zip, and of .xls.
_PACKED = (
    b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd",
    b"7z\xbc\xaf\x27\x1c", b"\xd0\xcf\x11\xe0",
)  # fmt: skip


class FileProblem(Problem):
    """A file that cannot be read and is refused whole.

    row: as a spreadsheet counts (header: 1); column: its name, or its number where it has none. Empty where it is not
    about one place.
    """

    def __init__(self, code: str, message: str, *, row: int | None = None, column: str = "") -> None:
        super().__init__(code, message)
        self.row = row
        self.column = column


def detect_encoding(stream: BinaryIO, declared: str | None) -> str:
    """Return the encoding by the first bytes, else as declared, else UTF-8; raises FileProblem for packed files.

    declared: None or WINDOWS, which is never guessed.
    """
    if declared not in (None, UTF_8, WINDOWS):
        raise ValueError(f"not an encoding to be declared: {declared}")
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise FileProblem("CSV_EMPTY", "The file is empty. Export it again with a header and at least one row.")
    if start.startswith(_PACKED):
        what = "The file is compressed or a spreadsheet. Unpack it, or save it as CSV, and send that."
        raise FileProblem("UPLOAD_COMPRESSED", what)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return UTF_16
    return UTF_8 if start.startswith(codecs.BOM_UTF8) else declared or UTF_8


def read_records(stream: BinaryIO, *, encoding: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each record that is not blank, the header first; raises FileProblem.

    Bytes that cannot be decoded come as UNREADABLE: see `refuse_unreadable`. The stream is read from its start and must
    not be read by anybody else meanwhile.
    """
    rows = ended = 0
    with _text(stream, encoding) as text:
        reader = csv.reader(_lines(text), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if any(map(str.strip, cells)):
                    rows += 1
                    yield cells
                ended = reader.line_num
        except csv.Error as error:
            never_closed = reader.line_num - ended > 1 or "unexpected end" in str(error)
            raise _quote_problem(rows + 1, never_closed=never_closed) from None


def refuse_unreadable(cells: Sequence[str], names: Sequence[str], *, row: int) -> None:
    """Raise FileProblem for what makes the whole file doubtful: undecodable bytes, NUL, or a cell far too long."""
    for number, cell in enumerate(cells):
        column = column_name(names, number)
        where = {"row": row, "column": column}
        if UNREADABLE in cell:
            what = f"Row {row}, column {column}, character {cell.index(UNREADABLE) + 1}: not valid in this encoding."
            what += " Save the file as UTF-8, or say that it is Windows-1252 if it is."
            raise FileProblem("CSV_ENCODING", what, **where)
        if "\0" in cell:
            raise FileProblem("CSV_CONTROL_CHAR", control_message(row, column, "\0"), **where)
        if len(cell) > CELL_LIMIT:
            what = f"Row {row}, column {column}: {len(cell):,} characters, limit {CELL_LIMIT:,}. Shorten the cell."
            raise FileProblem("CSV_CELL_TOO_LONG", what, **where)


def control_character(cells: Sequence[str]) -> tuple[int, str] | None:
    """Return the place in the record (from zero) and the character of the first one that no message may hold."""
    for number, cell in enumerate(cells):
        if found := _CONTROL.search(cell):
            return number, found[0]
    return None


def control_message(row: int, column: str, character: str) -> str:
    """Say which character is not allowed, and where."""
    return f"Row {row}, column {column}: character \\x{ord(character):02x} is not allowed. Remove it."


def column_name(names: Sequence[str], number: int) -> str:
    """Return how a message calls the column with this number (from zero): by its name, else counted from 1."""
    name = names[number].strip() if number < len(names) else ""
    return excerpt(name)[1:-1] if name and UNREADABLE not in name else str(number + 1)


def _mark_unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNREADABLE, error.end


codecs.register_error("jobs.mark_unreadable", _mark_unreadable)


@contextmanager
def _text(stream: BinaryIO, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Decode a stream from its start and leave it open. newline="": only LF, CR and CRLF end a line, nothing else."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding=encoding, errors="jobs.mark_unreadable", newline="")
    try:
        yield text
    finally:
        if not stream.closed:  # its owner may have closed it while a reader was still open
            text.detach()


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT:
            what = f"Line {number} has more than {LINE_LIMIT:,} characters. Check that the file is a CSV file."
            raise FileProblem("CSV_LINE_TOO_LONG", what)
        yield line


def _quote_problem(row: int, *, never_closed: bool) -> FileProblem:
    if never_closed:
        what = f"Row {row} opens a quote that is never closed; rows after it cannot be read."
        what += " Close it, or double a quote that belongs to the text."
    else:
        what = f"Row {row} has text after a closing quote. Double the quotes that belong to the text."
    return FileProblem("CSV_QUOTE", what, row=row)
