import io
from collections import Counter
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.recipients_file import FileProblem, open_recipients, read_recipients
from jobs.tests.made_up_files import HEAD, MB, ROW, read, refused, values
from notify.content import Problem, check_length, compile_content, missing, placeholders, required
from notify.recipients import validate_recipient
from notify.sms_text import sms_text

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
APPOINTMENT = "((name)), your appointment is on ((date)) at ((place)). Ref ((reference))"
RENEWAL = "Licence ((licence number)) expires on ((expires on)) Dear ((first name)), …"
DEBT = "Dear ((name)), you owe ((amount)) by ((due date))."


def judged(file: str, kind: str, template: str, *, encoding: str | None = None) -> tuple[int, list[str]]:
    """How many rows of a sample can be sent, and the code of each that cannot."""
    codes = []
    with (SAMPLES / file).open("rb") as stream:
        found = read_recipients(
            stream,
            placeholders=placeholders(template),
            notification_type=kind,
            encoding=encoding,
            max_rows=100_000,
            max_bytes=MB,
        )
        compiled, needed = compile_content(template), required(template)
        for row in found.rows():
            try:
                validate_recipient(kind, row.values, international=False)
                if missing(needed, row.values):
                    raise Problem("VALUE_MISSING", "")
                check_length(sms_text(compiled.render(row.values)), 918)
            except Problem as problem:
                codes.append(problem.code)
    return found.row_count - len(codes), codes


def test_every_appointment_is_good_or_has_its_reason():
    assert judged("appointments_sms.csv", "sms", APPOINTMENT) == (
        5_000,
        [
            "PHONE_TOO_SHORT", "PHONE_CHARACTERS", "RECIPIENT_MISSING", "PHONE_NOT_MOBILE", "PHONE_CHARACTERS",
            "PHONE_ABROAD", "VALUE_MISSING", "MESSAGE_TOO_LONG",
        ],
    )  # fmt: skip


def test_every_renewal_is_good_or_has_its_reason():
    assert judged("renewals_email.csv", "email", RENEWAL) == (3_000, ["EMAIL_INVALID"] * 4 + ["RECIPIENT_MISSING"])


def test_every_letter_is_good_or_has_its_reason():
    assert judged("council_letters.csv", "letter", DEBT) == (400, ["ADDRESS_TOO_FEW_LINES"])


def test_a_windows_file_is_refused_at_its_first_bad_byte_and_read_when_declared():
    data = (SAMPLES / "windows_export.csv").read_bytes()
    problem = refused(data, tuple(placeholders(APPOINTMENT)))
    assert (problem.code, problem.row, problem.column) == ("CSV_ENCODING", 2, "Date")
    assert "Row 2, column Date, character 4" in problem.message
    found = read(data, tuple(placeholders(APPOINTMENT)), encoding="cp1252")
    assert (found.row_count, found.encoding, found.delimiter) == (200, "cp1252", ";")
    assert found.notes == ["read as Windows-1252", "columns are separated by semicolons"]
    assert next(found.rows()).values["date"] == "1 März 2027"
    assert judged("windows_export.csv", "sms", APPOINTMENT, encoding="cp1252") == (200, [])


@pytest.mark.parametrize(("delimiter", "notes"), [(",", 0), (";", 1), ("\t", 1)])
def test_three_separators_are_known_by_the_header(delimiter, notes):
    found = read(f'"Phone Number"{delimiter}"na,;me"{delimiter}name\n1{delimiter}2{delimiter}Jo\n')
    assert (found.delimiter, values(found), len(found.notes)) == (delimiter, ["Jo"], notes)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_every_way_and_the_last_not_at_all(end):
    assert values(read(end.join(["phone number,name", "1,Jo", "", "2,Al"]))) == ["Jo", "Al"]


def test_blank_lines_are_not_rows_and_do_not_shift_the_numbers():
    found = read("\n\nphone number,name\n\n1,Jo\n , \n,\n2,Al\n\n")
    assert [(row.number, row.values["name"]) for row in found.rows()] == [(0, "Jo"), (1, "Al")]
    assert found.row_count == 2


def test_line_breaks_and_quotes_inside_a_quoted_cell_stay():
    assert values(read(HEAD + '1,"a\nb\r\nc ""d"", e"\n')) == ['a\nb\r\nc "d", e']


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\x07", "\x7f", "\x9f"])
def test_a_control_character_spoils_its_row_and_no_other(character):
    found = read(HEAD + ROW + f"07700900002,a{character}b\n" + ROW)
    rows = list(found.rows())
    assert [row.problem and row.problem.code for row in rows] == [None, "CSV_CONTROL_CHAR", None]
    assert f"Row 3, column name: character \\x{ord(character):02x} is not allowed" in str(rows[1].problem)
    assert rows[1].values["phonenumber"] == "07700900002"


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u00a0", "\t", "\u200d", "é", "😀"])
def test_other_unusual_characters_stay_in_their_row(character):
    rows = list(read(HEAD + f"1,a{character}b\n").rows())
    assert [(row.values["name"], row.problem) for row in rows] == [(f"a{character}b", None)]


def test_a_row_longer_than_the_header_is_a_bad_row_unless_the_rest_is_blank():
    rows = list(read(HEAD + "1,Jo,x\n2,Al, ,\n" + ROW).rows())
    assert [row.problem and row.problem.code for row in rows] == ["CSV_EXTRA_CELLS", None, None]
    assert "Row 2 has 3 cells, the header 2" in rows[0].problem.message
    assert rows[0].values == {"phonenumber": "1", "name": "Jo"}


def test_a_row_shorter_than_the_header_has_blank_cells():
    rows = list(read(HEAD + "1\n").rows())
    assert rows[0].values == {"phonenumber": "1", "name": ""}
    assert rows[0].problem is None


def test_columns_without_name_and_values_are_left_out():
    found = read("phone number,,name,\n1,,Jo,\n2,,Al\n")
    assert [row.values for row in found.rows()] == [
        {"phonenumber": "1", "name": "Jo"},
        {"phonenumber": "2", "name": "Al"},
    ]


def test_reading_may_start_at_any_row_and_again():
    found = read(HEAD + "".join(f"{number},n{number}\n" for number in range(5)))
    assert [row.number for row in found.rows(3)] == [3, 4]
    assert [row.values["name"] for row in found.rows(4)] == ["n4"]
    assert list(found.rows(5)) == []
    assert len(list(found.rows())) == 5


def test_a_reader_that_is_left_early_harms_nobody():
    found = read(HEAD + ROW * 3)
    reader = found.rows()
    next(reader)
    reader.close()
    assert len(list(found.rows())) == 3
    abandoned = found.rows()
    next(abandoned)
    found._stream.close()
    del abandoned  # an error here would be a warning, and warnings fail the test


def test_a_stored_file_is_opened_without_reading_it_to_the_end():
    stream = io.BytesIO((HEAD + ROW + "1,a\0b\n").encode())
    found = open_recipients(stream, encoding="utf-8-sig", delimiter=",", notification_type="sms")
    rows = found.rows()
    assert next(rows).values["name"] == "Jo"
    with pytest.raises(FileProblem, match=r"Row 3, column name: character \\x00"):
        next(rows)
    assert not stream.closed


def test_uploads_are_read_and_stay_open():
    small = SimpleUploadedFile("x.csv", (HEAD + ROW).encode())
    with TemporaryUploadedFile("x.csv", "text/csv", 0, None) as large:
        large.write((HEAD + ROW).encode())
        for upload in (small, large):
            found = read_recipients(upload, placeholders=["name"], notification_type="sms", max_rows=10, max_bytes=100)
            assert values(found) == ["Jo"]
            assert not upload.closed


DOCUMENTED = {
    "CSV_EMPTY", "CSV_NO_ROWS", "CSV_ENCODING", "CSV_CONTROL_CHAR", "CSV_QUOTE", "CSV_CELL_TOO_LONG",
    "CSV_LINE_TOO_LONG", "CSV_DUPLICATE_COLUMN", "CSV_MISSING_COLUMN", "CSV_UNNAMED_COLUMN",
    "CSV_NO_RECIPIENT_COLUMN", "CSV_DELIMITER", "UPLOAD_COMPRESSED",
}  # fmt: skip
PIECES = st.sampled_from(
    [
        b"phone number", b"name", b"07700900001", b"Jo", b",", b",", b";", b"\t", b"|", b"\n", b"\r\n", b"\r", b'"',
        b'""', b"\xe9", b"\xc3\xa9", b"\0", b"\x0b", b"\xff\xfe", b"\xef\xbb\xbf", b" ", b"\xe2\x80\xa8", HEAD.encode(),
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(PIECES, max_size=30).map(b"".join)
    | st.lists(PIECES, max_size=30).map(lambda p: HEAD.encode() + b"".join(p))
)
def test_whatever_comes_is_read_or_refused_by_a_documented_code(data):
    try:
        found = read(data)
    except FileProblem as problem:
        assert problem.code in DOCUMENTED  # noqa: PT017
    else:
        rows = list(found.rows())
        assert [row.number for row in rows] == list(range(found.row_count))
        assert Counter(key for row in rows for key in row.values)["name"] == found.row_count
