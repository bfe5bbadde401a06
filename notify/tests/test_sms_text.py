import pytest

from notify.sms_text import PLAIN, is_gsm, sms_parts, sms_text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 0),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 918, 6),
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        ("ł" * 70, 1),
        ("ł" * 71, 2),
        ("ł" * 134, 2),
        ("ł" * 135, 3),
        ("😀" * 35, 1),
        ("😀" * 35 + "a", 2),
    ],
)
def test_parts_follow_the_alphabet_the_text_needs(text, parts):
    assert sms_parts(text) == parts


def test_typographic_characters_become_plain_ones():
    written = "“Hi” – it’s\u00a0me… `ok`\u2028bye\t\u200b!"
    assert sms_text(written) == "\"Hi\" - it's me... 'ok' bye !"


def test_every_plain_form_is_in_the_gsm_alphabet_and_final():
    for plain in PLAIN.values():
        assert is_gsm(plain)
        assert sms_text("a" + plain + "b") == "a" + plain + "b"


def test_blanks_at_the_end_go_and_line_breaks_stay():
    assert sms_text(" a \r\nb\rc \n\u00a0") == " a \nb\nc"


def test_letters_of_names_stay_and_make_the_message_unicode():
    assert sms_text("Stanisław Łoś") == "Stanisław Łoś"
    assert not is_gsm("Stanisław")
    assert is_gsm("Éléonore Bäcker à Ñ [€]".replace("ë", "e"))


def test_accents_are_composed_so_that_they_find_their_place_in_the_alphabet():
    assert sms_text("Cafe\u0301") == "Café"
    assert sms_parts(sms_text("e\u0301" * 160)) == 1
