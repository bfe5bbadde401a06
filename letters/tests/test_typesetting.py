"""The PDF itself: where its address is, what is embedded, and what a screen reader finds."""

import io
from datetime import UTC, datetime

import pikepdf
import pypdfium2
import pytest

from letters.typesetting import Typesetter
from notify.content import ContentProblem

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
MM = 72 / 25.4
LINES = [f"Line {number} of the address" for number in range(1, 7)]
TYPESETTER = Typesetter()


def letter(**fields):
    return {
        "lang": "en", "title": "Your bill", "sender": "Council", "subject": "Your bill", "contact": ["Town Hall"],
        "address": [*LINES, "AB1 2CD"], "date": "24 November 2026",
        "parts": [
            {"kind": "paragraph", "text": "Dear you"},
            {"kind": "heading", "text": "How to pay"},
            {"kind": "bullets", "items": ["one", "two"]},
            {"kind": "numbers", "items": ["one", "two"], "start": 1},
        ],
    } | fields  # fmt: skip


def made(**fields):
    return TYPESETTER.pdf(letter(**fields), made_at=NOW)


def boxes(pdf):
    """Return each printed character of the first page with its left, top, right and bottom, in mm from the top left."""
    found = []
    with pypdfium2.PdfDocument(pdf) as document:
        page = document[0]
        text, height = page.get_textpage(), page.get_height()
        for place, character in enumerate(text.get_text_range()):
            left, bottom, right, top = text.get_charbox(place)
            if character.strip():
                found.append((character, left / MM, (height - top) / MM, right / MM, (height - bottom) / MM))
    return found


def showing(pdf, *, top, bottom, left, right):
    """Return the text of which anything lies in a part of the first page, in mm."""
    inside = [
        character for character, x1, y1, x2, y2 in boxes(pdf) if x2 > left and x1 < right and y2 > top and y1 < bottom
    ]
    return "".join(inside)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"address": ["A", "B", "AB1 2CD"]}, {"address": ["W" * 20 + " " + "W" * 20, *LINES[:5], "AB1 2CD"]},
        {"sender": "The Council of Names " * 9}, {"contact": [f"Line {number}" for number in range(40)]},
    ],
)  # fmt: skip
def test_the_address_and_nothing_else_shows_in_the_window_however_the_sheet_lies(fields):
    pdf = made(**fields)
    address = "".join("".join(letter(**fields)["address"]).split())
    assert showing(pdf, top=46, bottom=92, left=10, right=110) == address
    assert showing(pdf, top=46, bottom=81, left=20, right=100) == address  # the sheet at rest: all of it
    sure = showing(pdf, top=57, bottom=81, left=20, right=100)
    assert address.endswith(sure)
    assert sure.endswith("AB12CD")
    tops = [round(y2, 1) for character, x1, y1, x2, y2 in boxes(pdf) if y1 > 46 and y2 < 92 and x2 < 110]
    assert max(tops) <= 81


def test_an_address_of_eight_lines_fits_and_one_of_nine_is_refused():
    assert made(address=[*LINES, "Line 7", "AB1 2CD"])
    with pytest.raises(ContentProblem) as raised:
        made(address=[*LINES, "Line 7", "Line 8", "AB1 2CD"])
    assert raised.value.code == "ADDRESS_TOO_LONG"


def test_every_font_is_embedded_and_free():
    with pikepdf.open(io.BytesIO(made())) as pdf:
        fonts = [font for page in pdf.pages for font in page.Resources.Font.values()]
        names = {str(font.BaseFont).split("+")[-1] for font in fonts}
        embedded = [font.DescendantFonts[0].FontDescriptor for font in fonts]
        assert all("/FontFile2" in one or "/FontFile3" in one for one in embedded)
    assert names <= {"DejaVuSansCondensed", "DejaVuSansCondensed-Bold", "DejaVuSansCondensed-Identity-H",
                     "DejaVuSansCondensed-Bold-Identity-H"}  # fmt: skip


def test_a_screen_reader_finds_language_title_and_structure():
    with pikepdf.open(io.BytesIO(made())) as pdf:
        assert str(pdf.Root.Lang).startswith("en")
        assert bool(pdf.Root.MarkInfo.Marked)
        assert str(pdf.docinfo["/Title"]) == "Your bill"
        assert pdf.open_metadata()["pdfuaid:part"] == "1"
        tags = set()
        waiting = [pdf.Root.StructTreeRoot]
        while waiting:
            one = waiting.pop()
            if isinstance(one, pikepdf.Dictionary):
                tags.add(str(one.get("/S", "")))
                waiting.extend(one.get("/K", []) if isinstance(one.get("/K"), pikepdf.Array) else [one.get("/K")])
    assert {"/H1", "/H2", "/P", "/L", "/LI"} <= tags


def test_pages_are_numbered():
    pdf = made(parts=[{"kind": "paragraph", "text": "\n".join(["x"] * 60)}])
    with pypdfium2.PdfDocument(pdf) as document:
        texts = [page.get_textpage().get_text_range() for page in document]
    assert ["Page 1 of 2" in texts[0], "Page 2 of 2" in texts[1]] == [True, True]


def test_the_same_data_are_the_same_bytes_and_another_compiler_makes_them_too():
    assert made() == made() == Typesetter().pdf(letter(), made_at=NOW)


def test_a_fault_of_the_template_is_not_taken_for_one_of_the_letter():
    with pytest.raises(RuntimeError) as raised:
        TYPESETTER.pdf({"lang": "en"}, made_at=NOW)
    assert not isinstance(raised.value, ContentProblem)
    assert made()  # and the compiler is not the worse for it


def test_a_letter_that_slipped_through_the_check_is_refused_by_the_typesetter():
    with pytest.raises(ContentProblem) as raised:
        made(subject="漢")
    assert raised.value.code == "LETTER_CHARACTER"
