"""A letter's text is data: it is shown as typed, whatever is in it, and only the template's own marks format it."""

from datetime import UTC, datetime

import pypdfium2
import pytest

from letters.letter_content import assemble, parts
from letters.typesetting import Typesetter
from notify.content import ContentProblem, compile_content
from notify.models import Service

NOW = datetime(2026, 6, 30, 23, 30, tzinfo=UTC)  # already July in London
TYPESETTER = Typesetter()
ADDRESS = ["Ms A Reader", "1 High Street", "Anytown", "AB1 2CD"]


def data_of(content="((text))", *, subject="", address=ADDRESS, contact="", service="Council", **values):
    return assemble(
        Service(name=service, letter_contact_block=contact),
        address=address,
        subject=compile_content(subject),
        body=compile_content(content),
        values=values,
        made_at=NOW,
    )


def text_of(pdf):
    with pypdfium2.PdfDocument(pdf) as document:
        pages = [page.get_textpage().get_text_range() for page in document]
    return "".join(pages).replace("\r\n", "\n")


def printed(content="((text))", **fields):
    return text_of(TYPESETTER.pdf(data_of(content, **fields), made_at=NOW))


HARMLESS = [
    '#read("/etc/passwd")', "#panic()", "#import \"@preview/x:1.0.0\"", "*bold* _it_ `raw`", "$ x^2 $", "= Heading",
    "\\ \\u{41}", "@label <label>", "[content]", '"quoted" \'single\'', "((name))", "((a??b))", "// comment /* x */",
    "-- --- ...", "https://example.org", "~x~", "+ item", "- item", "/ term: x", "{code}", "%s {0} %(a)s", "</text>",
    "1 < 2 & 3 > 2", "Łódź, Ŵŷ, Æsir, Žižek, Nguyễn, Αθήνα, Київ", "“Zoë” – O’Neill…", "½ £ € ✓",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_a_value_is_printed_as_it_was_typed(text):
    assert f"before {text} after" in printed("before ((text)) after", text=text)


@pytest.mark.parametrize("text", HARMLESS)
def test_so_is_the_template_the_subject_the_address_and_the_contact_block(text):
    page = printed("Words", subject="((s))", s=text, address=[text, "x", "AB1 2CD"], contact=text)
    assert " ".join(page.split()).count(text) == 3  # a narrow column may break it into lines
    assert text in printed("Here is ((text))", text=text, service=text)


@pytest.mark.parametrize("mark", ["# ", "* ", "1. "])
def test_only_the_template_formats(mark):
    assert data_of(f"{mark}Words", text="")["parts"][0]["kind"] in ("heading", "bullets", "numbers")
    for value in (f"{mark}Words", f"Line\n{mark}Words", f"\r\n{mark}Words", f"\u2028{mark}Words"):
        (part,) = data_of(text=value)["parts"]
        assert part["kind"] == "paragraph"
        assert f"{mark}Words" in part["text"]
    assert f"{mark}Words" in printed(text=f"{mark}Words")
    assert data_of(f"{mark[:-1]}((text))", text=" Words")["parts"][0]["kind"] == "paragraph"


def test_formatting_becomes_parts():
    text = "Dear you,\nhello\n\n# Head\nText\n* one\n* two\ngoes on\n\n* three\n3. third\n4. fourth\n\nBye"
    assert parts(text) == [
        {"kind": "paragraph", "text": "Dear you,\nhello"},
        {"kind": "heading", "text": "Head"},
        {"kind": "paragraph", "text": "Text"},
        {"kind": "bullets", "items": ["one", "two\ngoes on", "three"]},
        {"kind": "numbers", "items": ["third", "fourth"], "start": 3},
        {"kind": "paragraph", "text": "Bye"},
    ]


def test_an_empty_bullet_is_left_out_and_a_condition_keeps_its_formatting():
    template = "((late??* Pay now\n* Or call))\n* ((more))"
    assert data_of(template, late="yes", more="")["parts"] == [{"kind": "bullets", "items": ["Pay now", "Or call"]}]
    assert data_of(template, late="no", more="x")["parts"] == [{"kind": "bullets", "items": ["x"]}]


def test_the_parts_come_out_on_paper():
    page = printed("# Head\n\n* one\n* two\n\n3. third\n4. fourth")
    for words in ("Head", "•", "one", "two", "3.", "third", "4.", "fourth"):
        assert words in page


def test_a_value_of_several_lines_keeps_them():
    assert "\nfirst\nsecond\nthird" in printed("((text))", text="first\nsecond\r\nthird")


@pytest.mark.parametrize("text", ["שלום עולם", "مرحبا"])
def test_text_that_runs_from_right_to_left_is_printed(text):
    assert sorted(set(text) - {" "}) == sorted({c for c in printed(text=text) if c in text and c != " "}) or any(
        # Arabic letters may come back in the forms they have inside a word
        0xFB50 <= ord(character) <= 0xFEFF
        for character in printed(text=text)
    )


def test_an_emoji_the_font_has_is_printed():
    assert "😀" in printed(text="well done 😀")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("漢字", "漢"), ("नमस्ते", "न"), ("🏴", "🏴"), ("a\x07", "\\x07"), ("\x00", "\\x00"), ("\x1e", "\\x00"),
        ("\x1f", "\\x00"), ("\x85", "\\x85"), ("\u202eabc", "\\u202e"), ("\ue000", "\\ue000"), ("\ud800", "\\ud800"),
    ],
)  # fmt: skip
def test_a_character_that_cannot_be_printed_is_named(text, named):
    with pytest.raises(ContentProblem, match="which letters cannot print") as raised:
        data_of(text=f"ab{text}")
    assert raised.value.code == "LETTER_CHARACTER"
    assert f'The text has "{named}"' in str(raised.value)


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("The address", {"address": ["漢", "x", "AB1 2CD"]}),
        ("The subject", {"subject": "漢"}),
        ("The service's name or contact block", {"contact": "a\n漢"}),
        ("The service's name or contact block", {"service": "漢"}),
    ],
)
def test_it_is_said_where_the_character_is(where, fields):
    with pytest.raises(ContentProblem, match=where):
        data_of(text="x", **fields)


@pytest.mark.parametrize("invisible", "\u00ad\u200b\u200c\u200d\u200e\u2060\u2068\u2069\ufe0f\ufeff\u00a0\t")
def test_invisible_characters_do_no_harm(invisible):
    page = printed(text=f"Anne{invisible}Marie")
    assert "Anne" in page
    assert "Marie" in page


def test_everything_the_check_lets_through_can_be_typeset():
    from letters.glyphs import printable

    every = sorted(printable() - {"\n"})
    for start in range(0, len(every), 1_500):
        some = " ".join(every[start : start + 1_500])
        assert TYPESETTER.pdf(data_of("# ((text))\n\n((text))", text=some), made_at=NOW)


def test_eight_thousand_characters_are_all_there():
    words = " ".join(f"word{place}" for place in range(900))
    assert len(words) > 7_000
    page = printed(text=words).replace("\n", " ")
    assert all(f"word{place}" in page for place in range(900))


@pytest.mark.parametrize("content", ["((text))", "* ((text))", "# ((text))"])
@pytest.mark.parametrize("character", ["W", "i", "/"])
def test_a_word_of_eight_thousand_characters_does_not_run_off_the_page(content, character):
    pdf = TYPESETTER.pdf(data_of(content, text=character * 8_000), made_at=NOW)
    found = 0
    with pypdfium2.PdfDocument(pdf) as document:
        for page in document:
            text = page.get_textpage()
            shown = text.get_text_range()
            for place, letter in enumerate(shown[:-40]):
                if letter == character and shown[place - 1 : place + 2] == character * 3:
                    assert text.get_charbox(place)[2] <= page.get_width() - 40
            found += shown.count(character)
    assert found >= 8_000


def test_the_date_is_local_and_the_subject_is_one_line():
    data = data_of("Words", subject="For\n((name))", name="a\nb")
    assert (data["date"], data["subject"], data["title"]) == ("1 July 2026", "For a b", "For a b")
    assert data_of("Words", service="Council")["title"] == "Council"


@pytest.mark.parametrize(("content", "code"), [(" \n ", "MESSAGE_EMPTY"), ("x" * 100_001, "MESSAGE_TOO_LONG")])
def test_an_empty_and_an_endless_letter_are_refused(content, code):
    with pytest.raises(ContentProblem) as raised:
        data_of(content)
    assert raised.value.code == code


def test_a_hundred_thousand_characters_are_allowed_and_over_ten_pages():
    data = data_of("i" * 100_000)
    with pypdfium2.PdfDocument(TYPESETTER.pdf(data, made_at=NOW)) as document:
        assert len(document) > 10
