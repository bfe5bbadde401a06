"""One line per event in the log."""

import logging
import sys

import pytest

from notify.log import OneLine


def line(message, *values, **fields):
    record = logging.LogRecord("notify.alerts", logging.ERROR, "", 0, message, values, fields.get("exc_info"))
    return OneLine("%(levelname)s %(name)s %(message)s").format(record)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nERROR b", "a\\nERROR b"), ("a\r\nb", "a\\r\\nb"), ("a\u2028b", "a\\u2028b"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"), ("tab\tand é", "tab\tand é"),
    ],
)  # fmt: skip
def test_what_breaks_a_line_is_written_out(text, written):
    assert line("Alert for %s", text) == f"ERROR notify.alerts Alert for {written}"


def test_a_traceback_keeps_its_lines():
    try:
        raise ValueError("x")
    except ValueError:
        written = line("stopped", exc_info=sys.exc_info())
    assert len(written.splitlines()) > 2


def test_the_configured_handler_writes_one_line(settings):
    assert settings.LOGGING["formatters"]["line"]["()"] is OneLine
