"""Files changed at random: whatever comes, only documented codes are given, never another error."""

import io

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.recipients_file import FileProblem, read_recipients

CODES = {
    "CSV_EMPTY", "CSV_NO_ROWS", "CSV_ENCODING", "CSV_CONTROL_CHAR", "CSV_QUOTE", "CSV_CELL_TOO_LONG",
    "CSV_LINE_TOO_LONG", "CSV_TOO_MANY_ROWS", "UPLOAD_TOO_LARGE", "CSV_DUPLICATE_COLUMN", "CSV_MISSING_COLUMN",
    "CSV_UNNAMED_COLUMN", "CSV_NO_RECIPIENT_COLUMN", "CSV_DELIMITER", "UPLOAD_COMPRESSED",
}  # fmt: skip
GOOD = 'phone number,name\n07700900123,Zoë\n07700900124,"a, b"\n'.encode()
PIECES = [
    b'"',
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r",
    b"\x00",
    b"\x0b",
    b"\xff",
    b"\xfe",
    b"\xe2\x80\xa8",
    b"=",
    b"x" * 9_000,
]


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 5), st.sampled_from(PIECES)), max_size=4),
    st.sampled_from([None, "utf-8-sig", "cp1252"]),
)
def test_only_documented_codes_appear(changes, encoding):
    data = GOOD
    for place, cut, piece in changes:
        data = data[:place] + piece + data[place + cut :]
    assert outcome(data, encoding) in CODES | {"accepted"}


def outcome(data, encoding):
    """Read a file to its end; returns the code it is refused with, or that it was accepted."""
    try:
        found = read_recipients(
            io.BytesIO(data), placeholders=["name"], notification_type="sms", encoding=encoding, max_rows=10,
            max_bytes=50_000,
        )  # fmt: skip
    except FileProblem as problem:
        return problem.code if "\x00" not in str(problem) else str(problem)
    return "accepted" if sum(1 for _ in found.rows()) == found.row_count > 0 else "miscounted"
