"""What receipts of all providers have in common: times, and texts that are safe to keep."""

import pytest

from providers.backends import load_backend, london_time, one_line, without_numbers
from providers.backends.mmg import MMG


def test_a_backend_is_found_by_its_path():
    assert isinstance(load_backend("providers.backends.mmg.MMG", {}), MMG)
    with pytest.raises(ImportError):
        load_backend("providers.backends.mmg.Nobody", {})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b\n\tc", "a b c"),
        ("\ud800x\u202ey", "x y"),
        ("0193a1b2-0000-7000-8000-123456789012", "0193a1b2-0000-7000-8000-123456789012"),
        ("x" * 41, "x" * 40),
        (7, "7"),
    ],
)
def test_a_text_is_kept_in_one_printable_line(text, kept):
    assert one_line(text, 40) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("to 07700 900123 now", "to (number) now"),
        ("+44 (0)7700-900.123", "(number)"),
        ("error 123456", "error 123456"),  # six digits are no phone number
        ("error 1234567", "error (number)"),
    ],
)
def test_what_could_be_a_phone_number_is_hidden(text, kept):
    assert without_numbers(text, 40) == kept


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-07-01 09:30:00", "2026-07-01 08:30"),  # summer
        ("2026-01-01T09:30:00", "2026-01-01 09:30"),  # winter
        ("2026-10-25 01:30:00", "2026-10-25 00:30"),  # comes twice: the first
        ("2026-10-25 00:59:59", "2026-10-24 23:59"),
        ("2026-10-25 02:00:00", "2026-10-25 02:00"),
        ("2026-03-29 01:30:00", "2026-03-29 01:30"),  # never was on any clock
        ("2026-07-01 09:30:00+00:00", "2026-07-01 09:30"),
        (" 2026-07-01 09:30 ", "2026-07-01 08:30"),
    ],
)
def test_a_london_time_becomes_utc(text, utc):
    assert f"{london_time(text):%Y-%m-%d %H:%M %Z}" == f"{utc} UTC"


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        0,
        [],
        "soon",
        "25:61",
        "2026-02-30 10:00:00",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "2026-07-01",
    ],
)
def test_what_is_no_time_is_none(text):
    assert london_time(text) is None
