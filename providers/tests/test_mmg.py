"""MMG's receipts: every code of its tables, and bodies that are none."""

import json
from datetime import UTC, datetime

import pytest

from providers.backends import ReceiptProblem, Report
from providers.backends.mmg import MMG

ID = "0193a1b2-0000-7000-8000-123456789012"
TABLE = {
    ("2", "permanent-failure"): (1, 4, 5, 9, 11, 12, 2049, 2050, 2052, 2053),
    ("3", "delivered"): (2, 5),
    ("4", "temporary-failure"): (6, 8, 13, 15, 27, 29, 32),
    ("5", "permanent-failure"): (6, 8, 10, 11, 13, 14, 19, 20, 21, 23, 24, 25, 51, 52),
}
ROWS = [(code, status, substatus) for (code, status), parts in TABLE.items() for substatus in parts]


def body(**over):
    receipt = {
        "CID": ID,
        "status": "3",
        "substatus": "5",
        "MSISDN": "447700900123",
        "reference": "12345678",
        "deliverytime": "2026-07-01 09:30:00",
    } | over
    return json.dumps({key: value for key, value in receipt.items() if value is not None}).encode()


def read(raw):
    return MMG({}).read_receipt(raw, "application/json")


def problem(raw):
    with pytest.raises(ReceiptProblem) as caught:
        read(raw)
    return caught.value.code


def test_a_receipt_gives_its_message_status_reason_code_and_time():
    assert read(body()) == [
        Report(ID, "delivered", "delivered to the handset", "3/5", datetime(2026, 7, 1, 8, 30, tzinfo=UTC))
    ]


@pytest.mark.parametrize(("code", "status", "substatus"), ROWS)
def test_each_known_code_gives_its_status_and_a_reason(code, status, substatus):
    (report,) = read(body(status=code, substatus=str(substatus)))
    assert (report.status, report.code, bool(report.reason)) == (status, f"{code}/{substatus}", True)
    assert read(body(status=int(code), substatus=substatus)) == [report]  # as numbers too


def test_the_same_substatus_means_something_else_under_another_status():
    absent, out_of_coverage = (read(body(status=code, substatus="6"))[0].reason for code in "45")
    assert (absent, out_of_coverage) == ("subscriber absent", "out of coverage")


@pytest.mark.parametrize("substatus", ["999", "", None, [], True, {"a": 1}])
def test_an_unknown_or_missing_substatus_only_costs_the_reason(substatus):
    (report,) = read(body(status="2", substatus=substatus))
    assert (report.status, report.reason) == ("permanent-failure", "")


@pytest.mark.parametrize("code", ["0", "1", "6", "7", "33", "delivered", "-3", "3.0"])
def test_an_unknown_status_gives_no_status_and_is_named_without_its_substatus(code):
    (report,) = read(body(status=code, substatus="5"))
    assert (report.reference, report.status, report.code) == (ID, "", code)


def test_an_unknown_status_never_carries_a_phone_number_or_control_characters_along():
    (report,) = read(body(status="+44 7700 900123\x00\ud800" + "x" * 100))
    assert report.code == "(number) " + "x" * 31


@pytest.mark.parametrize("missing", [{"CID": None}, {"status": None}, {"CID": ""}, {"status": " "}, {"CID": {}}])
def test_a_receipt_without_message_or_status_is_unreadable(missing):
    assert problem(body(**missing)) == "RECEIPT_UNREADABLE"


@pytest.mark.parametrize(
    "raw", [b"hello", b"{", b"7", b"null", b'"x"', b"\xff\xfe\x00", b"[" * 200_000, b"9" * 5_000, b"status=3&CID=1"]
)
def test_what_is_no_receipt_is_unreadable(raw):
    assert problem(raw) == "RECEIPT_UNREADABLE"


@pytest.mark.parametrize("raw", [b"", b"  \r\n", b"\xef\xbb\xbf", b"[]", b" [ ] "])
def test_nothing_is_empty(raw):
    assert problem(raw) == "RECEIPT_EMPTY"


@pytest.mark.parametrize("field", ["status", "CID", "MSISDN"])
def test_a_field_twice_is_ambiguous_even_with_the_same_value(field):
    raw = body()
    doubled = raw[:-1] + f', "{field}": {json.dumps(json.loads(raw)[field])}}}'.encode()
    assert problem(doubled) == "RECEIPT_AMBIGUOUS"


def test_an_array_gives_each_receipt_and_a_bad_one_does_not_stop_the_others():
    other = ID.replace("0193", "0194")
    raw = (
        b"["
        + b",".join([body(), b'{"CID": 1, "CID": 2, "status": 3}', b"5", b"{}", body(CID=other, status="4")])
        + b"]"
    )
    assert [(report.reference, report.status, report.code) for report in read(raw)] == [
        (ID, "delivered", "3/5"),
        ("", "", "RECEIPT_AMBIGUOUS"),
        ("", "", "RECEIPT_UNREADABLE"),
        ("", "", "RECEIPT_UNREADABLE"),
        (other, "temporary-failure", "4/5"),
    ]


def test_an_array_of_one_is_that_one():
    assert read(b"[" + body() + b"]") == read(body())
    assert problem(b"[{}]") == "RECEIPT_UNREADABLE"


def test_content_type_byte_order_mark_and_latin_1_do_not_matter():
    assert MMG({}).read_receipt(b"\xef\xbb\xbf" + body(), "text/plain; charset=nonsense") == read(body())
    assert read(body(note="x").replace(b'"x"', b'"caf\xe9"')) == read(body())
