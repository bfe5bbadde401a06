"""Firetext's receipts: every code of its tables, and bodies that are none."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from providers.backends import ReceiptProblem, Report
from providers.backends.firetext import Firetext

ID = "0193a1b2-0000-7000-8000-123456789012"
CODES = {
    "permanent-failure": ("101", "201", "301", "401"),
    "temporary-failure": ("000", "102", "103", "104", "302", "900"),
}


def body(**over):
    form = {
        "status": "0",
        "reference": ID,
        "code": "000",
        "mobile": "447700900123",
        "time": "2026-01-01 09:30:00",
    } | over
    return urlencode({key: value for key, value in form.items() if value is not None}).encode()


def read(raw):
    return Firetext({}).read_receipt(raw, "application/x-www-form-urlencoded")


def problem(raw):
    with pytest.raises(ReceiptProblem) as caught:
        read(raw)
    return caught.value.code


def test_a_receipt_gives_its_message_status_code_and_time():
    assert read(body()) == [Report(ID, "delivered", "", "0/000", datetime(2026, 1, 1, 9, 30, tzinfo=UTC))]


@pytest.mark.parametrize(("status", "code"), [(status, code) for status in CODES for code in CODES[status]])
def test_each_known_code_refines_a_failure(status, code):
    (report,) = read(body(status="1", code=code))
    assert (report.status, report.code, bool(report.reason)) == (status, f"1/{code}", True)


@pytest.mark.parametrize("code", ["999", "", None, "0", "00", "1010"])
def test_a_failure_without_a_known_code_is_unclear(code):
    (report,) = read(body(status="1", code=code))
    assert (report.status, report.reason) == ("unclear-failure", "")


@pytest.mark.parametrize("code", ["101", "000", None])
def test_a_code_does_not_change_what_is_pending_or_delivered(code):
    assert [read(body(status=status, code=code))[0].status for status in "02"] == ["delivered", "pending"]


@pytest.mark.parametrize("status", ["3", "00", "-1", "delivered"])
def test_an_unknown_status_gives_no_status_and_is_named_without_its_detail(status):
    (report,) = read(body(status=status, code="101"))
    assert (report.reference, report.status, report.reason, report.code) == (ID, "", "", status)


@pytest.mark.parametrize("missing", [{"status": None}, {"reference": None}, {"status": ""}, {"reference": " "}])
def test_a_receipt_without_message_or_status_is_unreadable(missing):
    assert problem(body(**missing)) == "RECEIPT_UNREADABLE"


@pytest.mark.parametrize("raw", [b"hello", b'{"status": "0"}', b"a=1&" * 101, b"\xff\xfe"])
def test_what_is_no_receipt_is_unreadable(raw):
    assert problem(raw) == "RECEIPT_UNREADABLE"


@pytest.mark.parametrize("raw", [b"", b" \r\n"])
def test_nothing_is_empty(raw):
    assert problem(raw) == "RECEIPT_EMPTY"


def test_a_field_twice_is_ambiguous():
    assert problem(body() + b"&status=1") == "RECEIPT_AMBIGUOUS"


def test_a_time_that_is_none_costs_only_the_time():
    assert read(body(time="25:61")) == [Report(ID, "delivered", "", "0/000", None)]


def test_content_type_does_not_matter():
    assert Firetext({}).read_receipt(body() + b"\r\n", "application/json") == read(body())
