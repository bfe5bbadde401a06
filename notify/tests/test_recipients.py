import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.recipients import (
    InvalidRecipient,
    is_international,
    parse_phone,
    recipient_columns,
    validate_address,
    validate_email,
    validate_phone,
    validate_recipient,
)


def code(check, *args, **options) -> str:
    """What a check says: the code of its refusal, or what it returned."""
    try:
        return check(*args, **options)
    except InvalidRecipient as problem:
        return problem.code


@pytest.mark.parametrize(
    "text",
    [
        "07700900123", "07700 900123", "07700-900123", "+447700900123", "+44 7700 900 123", "00447700900123",
        "(07700) 900.123", "+44 (0)7700 900123", "+44 (7700) 900123", "447700900123",
    ],
)  # fmt: skip
def test_a_mobile_number_is_the_same_however_it_is_written(text):
    assert validate_phone(text, international=False) == "+447700900123"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("07624 123456", "+447624123456"),
        ("07625 123456", "PHONE_NOT_MOBILE"),  # a pager
        ("07012 345678", "PHONE_NOT_MOBILE"),  # a personal number
        ("020 7946 0000", "PHONE_NOT_MOBILE"),
        ("0909 8790000", "PHONE_NOT_MOBILE"),  # premium
        ("12345", "PHONE_TOO_SHORT"),
        ("07700 90012", "PHONE_TOO_SHORT"),
        ("07700 9001234", "PHONE_TOO_LONG"),
        ("07700900123" + "4" * 9, "PHONE_TOO_LONG"),
        ("7700900123", "PHONE_LEADING_ZERO"),
        ("4.477009E+11", "PHONE_CHARACTERS"),
        ("07700 90012three", "PHONE_CHARACTERS"),
        ("٠٧٧٠٠٩٠٠١٢٣", "PHONE_CHARACTERS"),
        ("0770090012²", "PHONE_CHARACTERS"),
        ("07700900123\n", "PHONE_CHARACTERS"),
        ("07700900123;ext=5", "PHONE_CHARACTERS"),
        ("07700/900123", "PHONE_CHARACTERS"),
        ("+999 123456", "PHONE_COUNTRY"),
        ("()", "PHONE_INVALID"),
        ("", "RECIPIENT_MISSING"),
        (" \u00a0", "RECIPIENT_MISSING"),
        ("+1 202 555 0143", "PHONE_ABROAD"),
        ("0033 6 12 34 56 78", "PHONE_ABROAD"),
    ],
)
def test_what_a_number_gets_from_a_service_that_sends_at_home(text, said):
    assert code(validate_phone, text, international=False) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("+33 6 12 34 56 78", "+33612345678"),
        ("+1 202 555 0143", "+12025550143"),
        ("+33 1 42 68 53 00", "PHONE_NOT_MOBILE"),
        ("+33 6 12", "PHONE_INVALID"),
        ("07700 900123", "+447700900123"),
        ("020 7946 0000", "PHONE_NOT_MOBILE"),
    ],
)
def test_what_a_number_gets_from_a_service_that_sends_abroad(text, said):
    assert code(validate_phone, text, international=True) == said


def test_another_region_has_its_own_home():
    assert validate_phone("06 12 34 56 78", international=False, region="FR") == "+33612345678"
    assert code(validate_phone, "+447700900123", international=False, region="FR") == "PHONE_ABROAD"
    assert code(validate_phone, "07700 900123", international=False, region="FR") != "+447700900123"
    assert is_international("+447700900123", "FR")
    assert not is_international("+447700900123")
    assert is_international("+33612345678")


SEPARATED = st.lists(st.sampled_from(list("0123456789") * 3 + list(" -.()+") + ["  ", ") ("]), max_size=24).map("".join)
NEARLY_MOBILE = st.builds(
    lambda start, digits, marks: start + "".join(digit + mark for digit, mark in zip(digits, marks, strict=True)),
    st.sampled_from(
        ["07", "+447", "00447", "+44 (0)7", "0044 07", "447", "7", "(07", "+ 44 7", " 0 7", "-07", "07624", "(0)7"]
    ),
    st.lists(st.sampled_from("0123456789"), min_size=9, max_size=9),
    st.lists(st.sampled_from(["", "", "", " ", "-", ".", ")", "(", "--"]), min_size=9, max_size=9),
)


@settings(max_examples=1500, deadline=None)
@given(SEPARATED | NEARLY_MOBILE)
def test_the_fast_way_says_what_the_thorough_one_says(text):
    thorough = code(parse_phone, text, international=False, region="GB")
    assert code(validate_phone, text, international=False) == thorough


def test_the_fast_way_is_taken_and_agrees_for_plain_mobiles():
    dice = random.Random(7)
    accepted = 0
    for _ in range(2_000):
        number = "7" + "".join(dice.choices("0123456789", k=9))
        text = dice.choice(["0", "+44", "0044", "+44 "]) + number[:4] + dice.choice(["", " ", "-"]) + number[4:]
        said = code(validate_phone, text, international=False)
        assert said == code(parse_phone, text, international=False, region="GB")
        accepted += said == "+44" + number
    assert accepted > 1_000


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("jo@example.org", "jo@example.org"),
        (" Jo.Smith+tag@Example.ORG ", "Jo.Smith+tag@example.org"),
        ("o'brien@sub.example.co.uk", "o'brien@sub.example.co.uk"),
        ("jo@bücher.example", "jo@xn--bcher-kva.example"),
        ("jo@BÜCHER.example", "jo@xn--bcher-kva.example"),
        ("jo@straße.example", "jo@xn--strae-oqa.example"),
        ("jo@xn--bcher-kva.example", "jo@xn--bcher-kva.example"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_addresses_that_are_accepted_and_how_they_are_stored(text, stored):
    assert validate_email(text) == stored


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no-at-sign.example.com", "has no @"),
        ("two@@example.com", "more than one @"),
        ("a@b@example.com", "more than one @"),
        ("a@b.c\nBcc: x@example.com", "line break"),
        ("a@example.org\n", "line break"),
        ("a b@example.org", "space"),
        ("a\x00@example.org", "control character"),
        ("jo@example", "no ending"),
        ("jo@example.org.", "ends with a dot"),
        ('"jo smith"@example.org', "space"),
        ('"jo"@example.org', "quotes"),
        ("jö@example.org", "before the @"),
        ("jo@192.168.0.1", "part"),
        ("jo@example.c", "part"),
        (".jo@example.org", "part"),
        ("j..o@example.org", "part"),
        ("@example.org", "part"),
        ("jo@-example.org", "part"),
        ("jo@exa_mple.org", "part"),
        ("jo@ex\u2024.org", "part"),
        ("a" * 65 + "@example.org", "too long"),
        ("a@" + "b." * 160 + "org", "too long"),
        ("a" * 321, "too long"),
    ],
)
def test_addresses_that_are_refused_and_why(text, words):
    with pytest.raises(InvalidRecipient) as caught:
        validate_email(text)
    assert caught.value.code == "EMAIL_INVALID"
    assert words in caught.value.message


def test_no_email_address_is_missing_not_invalid():
    assert code(validate_email, " ") == "RECIPIENT_MISSING"


HOME = ["Ms J Howe", "1  High\tStreet ", "", "  ", "sw1a1aa"]


def test_a_postal_address_is_stored_tidy():
    assert validate_address(HOME, international=False) == "Ms J Howe\n1 High Street\nSW1A 1AA"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["", " "], "RECIPIENT_MISSING"),
        (["Jo", "SW1A 1AA"], "ADDRESS_TOO_FEW_LINES"),
        ([*"abcdef", "M1 1AE"], "a\nb\nc\nd\ne\nf\nM1 1AE"),
        ([*"abcdefg", "M1 1AE"], "ADDRESS_TOO_MANY_LINES"),
        (["Jo", "1 Street", "London"], "ADDRESS_POSTCODE"),
        (["Jo", "SW1A 1AA", "London"], "ADDRESS_POSTCODE"),
        (["Jo", "1 Street", "SW1A 1A"], "ADDRESS_POSTCODE"),
        (["Jo", "1 Street", "SW1A 11AA"], "ADDRESS_POSTCODE"),
        (["Jo", "1 Street", "gir 0aa"], "Jo\n1 Street\nGIR 0AA"),
        (["Jo", "1 Street", "France"], "ADDRESS_ABROAD"),
    ],
)
def test_what_an_address_gets_from_a_service_that_sends_at_home(lines, said):
    assert code(validate_address, lines, international=False) == said


def test_a_country_may_be_last_only_where_the_service_sends_abroad():
    assert validate_address(["Jo", "1 rue X", "75001 Paris", "FRANCE"], international=True).endswith("\nFRANCE")
    assert validate_address(HOME, international=True).endswith("\nSW1A 1AA")
    assert code(validate_address, ["Jo", "1 Street", "London"], international=True) == "ADDRESS_POSTCODE"


def test_no_refusal_repeats_the_recipient():
    for check, text in (
        (lambda text: validate_phone(text, international=False), "07700 90012x"),
        (lambda text: validate_phone(text, international=False), "+12025550143"),
        (validate_email, "jane.roe@@example.org"),
        (lambda text: validate_address(["Jane Roe", "1 Street", text], international=False), "Someplace"),
    ):
        with pytest.raises(InvalidRecipient) as caught:
            check(text)
        assert text not in str(caught.value)


def test_a_row_is_judged_by_the_columns_of_its_type():
    cells = {"phonenumber": "07700 900123", "emailaddress": "jo@example.org", "addressline1": "Jo"}
    cells |= {"addressline2": "1 High Street", "addressline7": "m11ae"}
    assert validate_recipient("sms", cells, international=False) == "+447700900123"
    assert validate_recipient("email", cells, international=False) == "jo@example.org"
    assert validate_recipient("letter", cells, international=False) == "Jo\n1 High Street\nM1 1AE"
    for kind in ("sms", "email", "letter"):
        assert code(validate_recipient, kind, {}, international=False) == "RECIPIENT_MISSING"


def test_recipient_columns_are_written_for_people():
    assert recipient_columns("sms") == ("phone number",)
    assert recipient_columns("letter")[0] == "address line 1"
    assert len(recipient_columns("letter")) == 7
