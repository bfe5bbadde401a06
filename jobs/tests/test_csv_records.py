import gzip
import io
import tracemalloc

import pytest

from jobs.csv_records import CELL_LIMIT, LINE_LIMIT
from jobs.recipients_file import FileProblem, read_recipients
from jobs.tests.made_up_files import HEAD, MB, ROW, read, refused, values

PLAIN = "Phone Number,Name\n07700900001,Zoë\n"


@pytest.mark.parametrize(
    ("encoding", "notes"),
    [("utf-8", []), ("utf-8-sig", []), ("utf-16", ["read as UTF-16"])],
)
def test_unicode_is_read_with_and_without_its_mark(encoding, notes):
    found = read(PLAIN.encode(encoding))
    assert values(found) == ["Zoë"]
    assert found.notes == notes
    assert found.header == ["Phone Number", "Name"]


def test_utf_16_is_read_in_both_byte_orders():
    assert values(read(b"\xfe\xff" + PLAIN.encode("utf-16-be"))) == ["Zoë"]


def test_a_mark_of_order_wins_over_what_was_declared():
    assert values(read(PLAIN.encode("utf-8-sig"), encoding="cp1252")) == ["Zoë"]


def test_mixed_encodings_are_refused_with_the_row():
    data = PLAIN.encode() + "07700900002,Zoë\n".encode("cp1252")
    problem = refused(data)
    assert (problem.code, problem.row, problem.column) == ("CSV_ENCODING", 3, "Name")
    assert refused(PLAIN.encode("utf-16")[:-1]).code == "CSV_ENCODING"


def test_a_byte_that_windows_does_not_have_is_refused_when_declared():
    assert refused(b"phone number,name\n07700900001,\x81\n", encoding="cp1252").code == "CSV_ENCODING"


def test_a_bad_byte_in_the_header_is_found_there():
    problem = refused("phone number,prénom\n".encode("cp1252"), ("prénom",))
    assert (problem.code, problem.row, problem.column) == ("CSV_ENCODING", 1, "2")


def test_an_encoding_nobody_offers_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="latin-1"):
        read(PLAIN, encoding="latin-1")


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        ("", "CSV_EMPTY", "The file is empty."),
        ("\ufeff", "CSV_EMPTY", "blank lines"),
        ("\n \r\n,,\n", "CSV_EMPTY", "blank lines"),
        (HEAD, "CSV_NO_ROWS", "There is a header but no rows."),
        (HEAD + "\n , \n", "CSV_NO_ROWS", "There is a header but no rows."),
        (HEAD + ROW * 15 + "07700900001,J\0o\n", "CSV_CONTROL_CHAR", r"Row 17, column name: character \x00 is not"),
        ("phone number,na\x07me\n" + ROW, "CSV_CONTROL_CHAR", r"Row 1, column na\x07me: character \x07 is not"),
        (HEAD + ROW * 3 + '07700900001,"Jo\n' + ROW * 99, "CSV_QUOTE", "Row 5 opens a quote that is never closed"),
        (HEAD + ROW * 3 + '07700900001,"Jo\n' + ROW + '07700900001,"Jo"\n', "CSV_QUOTE", "Row 5 opens a quote"),
        (HEAD + ROW + '07700900001,"Jo', "CSV_QUOTE", "Row 3 opens a quote that is never closed"),
        (HEAD + ROW + '07700900001,"a"b\n', "CSV_QUOTE", "Row 3 has text after a closing quote"),
        ("phone number,name,name\n1,Jo,Jo\n", "CSV_DUPLICATE_COLUMN", 'Columns 2 and 3 have the same name, "name"'),
        ("phone number,Name,na-me\n1,Jo,Al\n", "CSV_DUPLICATE_COLUMN", 'Columns 2 and 3 have the same name, "Name"'),
        ("phone number,phone_number,name\n1,1,Jo\n", "CSV_DUPLICATE_COLUMN", "Columns 1 and 2"),
        (
            "nmae,phone number\nJo,1\n",
            "CSV_MISSING_COLUMN",
            'The template needs "name"; the file has "nmae", "phone number". Did you mean "nmae"?',
        ),
        ("phone number,x,,\n1,Jo,,\n", "CSV_MISSING_COLUMN", 'the file has "phone number", "x". Add'),
        ("phone number,name,,\n1,Jo,,\n1,Jo,,x\n", "CSV_UNNAMED_COLUMN", "Column 4 has values but no name (row 3)"),
        ("07700900001,Jo\n07700900002,Al\n", "CSV_NO_RECIPIENT_COLUMN", "first row must name a column phone number."),
        ("07700900001,Jo,Jo\n", "CSV_NO_RECIPIENT_COLUMN", "Add a header row"),
        ("phone numbr,name\n1,Jo\n", "CSV_NO_RECIPIENT_COLUMN", 'Did you mean "phone numbr"?'),
        ("phone number|name\n1|Jo\n", "CSV_DELIMITER", 'separated by "|"'),
        (gzip.compress(HEAD.encode(), mtime=0), "UPLOAD_COMPRESSED", "compressed"),
        (b"PK\x03\x04" + b"x" * 50, "UPLOAD_COMPRESSED", "save it as CSV"),
    ],
)
def test_what_refuses_a_whole_file(data, code, words):
    problem = refused(data)
    assert problem.code == code
    assert words in problem.message
    assert str(problem) == f"{code}: {problem.message}"


def test_a_letter_needs_three_address_columns():
    head = "address line 1,address line 2,"
    assert refused(head + "name\nJo,x,y\n", kind="letter").code == "CSV_NO_RECIPIENT_COLUMN"
    assert read(head + "address line 7,name\nJo,x,y,z\n", kind="letter").row_count == 1


def test_the_longest_cell_is_allowed_and_one_more_is_not():
    longest = "x" * CELL_LIMIT
    assert values(read(f"{HEAD}1,{longest}\n")) == [longest]
    problem = refused(f'{HEAD}{ROW}1,"{"x" * 200_000}"\n')
    assert (problem.code, problem.row, problem.column) == ("CSV_CELL_TOO_LONG", 3, "name")
    assert "200,000 characters, limit 8,000" in problem.message
    lines = refused(f'{HEAD}1,"{"x" * 100 + chr(10)}{"y" * CELL_LIMIT}"\n')
    assert (lines.code, lines.row) == ("CSV_CELL_TOO_LONG", 2)


def test_many_cells_that_are_long_together_are_no_long_cell():
    names = [f"n{number}" for number in range(30)]
    data = f"phone number,{','.join(names)}\n1,{','.join(['x' * 500] * 30)}\n"
    assert read(data, tuple(names)).row_count == 1


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_the_row_limit_is_allowed_and_more_are_counted_to_the_end(ending):
    data = (HEAD + ROW * 11).encode().rstrip() + ending
    assert read(data, max_rows=11).row_count == 11
    problem = refused(data, max_rows=3)
    assert problem.code == "CSV_TOO_MANY_ROWS"
    assert "11 rows, limit 3" in problem.message


def test_the_size_limit_is_allowed_and_one_byte_more_is_not():
    assert read(HEAD + ROW, max_bytes=len(HEAD + ROW)).row_count == 1
    problem = refused(HEAD + ROW, max_bytes=len(HEAD + ROW) - 1)
    assert problem.code == "UPLOAD_TOO_LARGE"


class Endless(io.RawIOBase):
    """A stream of one header and then 100 MB without a line break or a closed quote."""

    def __init__(self, start: bytes, line: bytes = b"x" * 64) -> None:
        self.start, self.line, self.position = start, line, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = 100 * MB if whence == io.SEEK_END else offset
        return self.position

    def read(self, size: int = -1) -> bytes:
        rest = self.start[self.position :]
        size = min(size if size >= 0 else 100 * MB, 100 * MB - self.position)
        data = (rest + self.line * (size // len(self.line) + 1))[:size]
        self.position += len(data)
        return data

    read1 = read


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (Endless(HEAD.encode()), "CSV_LINE_TOO_LONG"),
        (Endless(b""), "CSV_LINE_TOO_LONG"),
        (Endless(HEAD.encode() + b'07700900001,"', b"never closed\n"), "CSV_QUOTE"),
    ],
)
def test_a_hundred_megabytes_without_an_end_are_given_up_early_and_in_little_memory(stream, code):
    tracemalloc.start()
    try:
        with pytest.raises(FileProblem) as caught:
            read_recipients(stream, placeholders=[], notification_type="sms", max_rows=10, max_bytes=200 * MB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == code
    assert stream.position < 3 * MB
    assert peak < 20 * MB


def test_the_longest_line_is_allowed_and_one_character_more_is_not():
    line = ROW.rstrip() + "," * (LINE_LIMIT - len(ROW)) + "\n"
    assert len(line) == LINE_LIMIT
    assert read(HEAD + line).row_count == 1
    assert refused(HEAD + "," + line).code == "CSV_LINE_TOO_LONG"
