"""A job's report: every row, safe to open in a spreadsheet, in constant memory."""

import csv
import io
import tracemalloc
from datetime import UTC, datetime

import pytest

from jobs import report
from notify.export import safe
from notify.testing import make_job, make_notification

WINTER, SUMMER = datetime(2026, 1, 5, 9, 30, tzinfo=UTC), datetime(2026, 7, 5, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"), ("=1+1", "'=1+1"), ("+1+1", "'+1+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("＝1", "'＝1"), ("+447700900123", "+447700900123"),
        ("+447700900123=1", "'+447700900123=1"), ("+12345", "'+12345"), ("", ""), (None, ""), (7, "7"),
        (WINTER, "2026-01-05 09:30:00 GMT"), (SUMMER, "2026-07-05 10:30:00 BST"),
    ],
)  # fmt: skip
def test_a_cell_that_could_be_a_formula_gets_an_apostrophe(value, written):
    assert safe(value) == written


def read(job):
    text = "".join(report.lines(job))
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


@pytest.mark.django_db
def test_every_row_is_named_also_those_without_a_message():
    job = make_job(rows=5)
    make_notification(job, 1, status="delivered", sent_at=WINTER, delivered_at=WINTER, created_at=WINTER)
    make_notification(job, 3, status="validation-failed", recipient="=cmd", status_reason="PHONE_CHARACTERS: no")
    rows = read(job)
    assert [row["row"] for row in rows] == ["2", "3", "4", "5", "6"]
    assert [row["status"] for row in rows] == ["", "delivered", "", "validation-failed", ""]
    assert rows[1]["recipient"] == "+447700900123"
    assert rows[1]["delivered at"] == "2026-01-05 09:30:00 GMT"
    assert (rows[3]["recipient"], rows[3]["reason"]) == ("'=cmd", "PHONE_CHARACTERS: no")
    assert rows[0]["reason"] == "no message"


@pytest.mark.django_db
def test_a_job_without_rows_yet_has_a_report_too():
    assert len(read(make_job(rows=2, status="pending"))) == 2


@pytest.mark.django_db
def test_memory_stays_flat(monkeypatch):
    monkeypatch.setattr(report, "CHUNK", 50)

    def peak(rows):
        job = make_job(rows=rows)
        for number in range(rows):
            make_notification(job, number)
        tracemalloc.start()
        for _ in report.lines(job):
            pass
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    peak(60)  # what is loaded once is loaded now
    assert peak(600) < 2 * peak(60)
