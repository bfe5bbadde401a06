"""What makes a recipient valid, and the one form in which it is stored.

A phone number is stored as E.164, an email address with its domain in lower-case ASCII, a postal address as its lines.
Whatever is not understood is refused: a message that goes to somebody else is worse than one that does not go.
"""

import re
from collections.abc import Mapping
from functools import cache

import idna
import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from notify.content import RECIPIENT_COLUMNS, Problem, column_key, excerpt
from notify.countries import is_country

GB_COUNTRY_CODE = 44
ADDRESS_LINES = (3, 7)  # fewest and most lines of a postal address that are not blank

# The mobile numbers of country code 44, the drama range 07700 900000-900999 among them. 7624 is the Isle of Man; the
# rest of 076 are pagers and 070 are personal numbers, both dear to call.
_GB_MOBILE = re.compile(r"7[1-57-9][0-9]{8}|7624[0-9]{6}")
_GB_PLAIN = re.compile(r"(?:0|\+44|0044)(" + _GB_MOBILE.pattern + ")")
_NOT_IN_PHONES = re.compile(r"[^0-9 +().\-]")
_NOT_DIGITS = re.compile(r"[^0-9]")
_PHONE_EXAMPLE = "Write it like 07700 900123 or +44 7700 900123."

# RFC 5322 dot-atom, and host names as RFC 1123 has them with an ending that is not a number.
_EMAIL = re.compile(
    r"""(?P<local> [a-z0-9!#$%&'*+/=?^_`{|}~-]+ (?: \. [a-z0-9!#$%&'*+/=?^_`{|}~-]+ )* )
    @ (?P<domain> (?: [a-z0-9] (?: [a-z0-9-]{0,61} [a-z0-9] )? \. )+ (?: [a-z]{2,63} | xn-- [a-z0-9-]{1,58} [a-z0-9] ) )
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# RFC 5321 4.5.3.1: 64 before the @, 255 after it (253 without the dots of the wire form).
EMAIL_LIMIT, EMAIL_LOCAL_LIMIT, EMAIL_DOMAIN_LIMIT = 320, 64, 253

_POSTCODE = re.compile(r"(GIR|[A-Z]{1,2}[0-9][A-Z0-9]?) ?([0-9][A-Z]{2})")


class InvalidRecipient(Problem):
    """A message cannot go there; the text says why and what to write instead.

    The text never repeats the recipient: it is stored beside the message, readable, where the recipient is encrypted.
    """


def recipient_columns(notification_type: str) -> tuple[str, ...]:
    """Return the names of the columns that say who gets the message, as they are written for people."""
    return RECIPIENT_COLUMNS[notification_type]


_KEYS = {kind: tuple(map(column_key, names)) for kind, names in RECIPIENT_COLUMNS.items()}


def validate_recipient(
    notification_type: str, cells: Mapping[str, str], *, international: bool, region: str = "GB"
) -> str:
    """Return the recipient of a row as it is stored; raises InvalidRecipient.

    cells: values by column_key; a column that is absent counts as blank. region: see validate_phone.
    """
    values = [cells.get(key, "") for key in _KEYS[notification_type]]
    if notification_type == "sms":
        return validate_phone(values[0], international=international, region=region)
    if notification_type == "email":
        return validate_email(values[0])
    return validate_address(values, international=international)


# --- Phone numbers ----------------------------------------------------------------------------------------------


def validate_phone(text: str, *, international: bool, region: str = "GB") -> str:
    """Return the number as E.164; raises InvalidRecipient.

    * Only ASCII digits, spaces and + - ( ) . may be in it.
    * Country code 44: mobile numbers, whether or not they are given out yet.
    * Other countries than that of `region`: only with `international`; then valid, and not a fixed line.
    region: the country (two letters) of numbers written without a country code.
    """
    # Plain mobiles take this way, one microsecond; test_recipients holds it against the other one, twenty.
    if region == "GB" and len(text) <= 40:
        digits = text.replace(" ", "").replace("-", "").replace(".", "").replace("(", "").replace(")", "")
        if plain := _GB_PLAIN.fullmatch(digits):
            return "+44" + plain[1]
    return parse_phone(text, international=international, region=region)


def parse_phone(text: str, *, international: bool, region: str) -> str:
    """Do what validate_phone does, for every way of writing a number."""
    if not text.strip():
        raise InvalidRecipient("RECIPIENT_MISSING", "There is no phone number. Fill in the phone number column.")
    if strange := _NOT_IN_PHONES.search(text):
        what = f"The phone number has {excerpt(strange[0])} in it; only 0-9, spaces and + - ( ) . may be."
        raise InvalidRecipient("PHONE_CHARACTERS", f"{what} {_PHONE_EXAMPLE}")
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException as error:
        raise _unreadable_phone(error) from None
    if number.country_code == GB_COUNTRY_CODE:
        _check_gb(phonenumbers.national_significant_number(number), text)
    if number.country_code != phonenumbers.country_code_for_region(region) and not international:
        what = "The phone number is abroad: this service does not send abroad. Remove the row or have it allowed."
        raise InvalidRecipient("PHONE_ABROAD", what)
    if number.country_code != GB_COUNTRY_CODE:
        _check_elsewhere(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_international(e164: str, region: str = "GB") -> bool:
    """Tell whether a stored number is outside the country of `region` (two letters)."""
    return not e164.startswith(_country_code(region))


@cache
def _country_code(region: str) -> str:
    return f"+{phonenumbers.country_code_for_region(region)}"


def _unreadable_phone(error: NumberParseException) -> InvalidRecipient:
    short = (NumberParseException.TOO_SHORT_NSN, NumberParseException.TOO_SHORT_AFTER_IDD)
    if error.error_type in short:
        return InvalidRecipient("PHONE_TOO_SHORT", f"The phone number has too few digits. {_PHONE_EXAMPLE}")
    if error.error_type == NumberParseException.TOO_LONG:
        return InvalidRecipient("PHONE_TOO_LONG", f"The phone number has too many digits. {_PHONE_EXAMPLE}")
    if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
        return InvalidRecipient("PHONE_COUNTRY", f"No country has this country code. {_PHONE_EXAMPLE}")
    return InvalidRecipient("PHONE_INVALID", f"This is not a phone number. {_PHONE_EXAMPLE}")


def _check_gb(national: str, text: str) -> None:
    if len(national) < 10:
        raise InvalidRecipient("PHONE_TOO_SHORT", f"The phone number has too few digits. {_PHONE_EXAMPLE}")
    if len(national) > 10:
        raise InvalidRecipient("PHONE_TOO_LONG", f"The phone number has too many digits. {_PHONE_EXAMPLE}")
    if not _GB_MOBILE.fullmatch(national):
        raise InvalidRecipient("PHONE_NOT_MOBILE", "This is not a mobile number. Give one that receives texts.")
    if _NOT_DIGITS.sub("", text) == national:
        what = "The phone number has lost its leading zero, as happens in spreadsheets. Format the column as text."
        raise InvalidRecipient("PHONE_LEADING_ZERO", what)


def _check_elsewhere(number: phonenumbers.PhoneNumber) -> None:
    if not phonenumbers.is_valid_number(number):
        what = "No phone number of that country looks like this. Check the digits after the country code."
        raise InvalidRecipient("PHONE_INVALID", what)
    if phonenumbers.number_type(number) == PhoneNumberType.FIXED_LINE:
        raise InvalidRecipient("PHONE_NOT_MOBILE", "This is not a mobile number. Give one that receives texts.")


# --- Email addresses --------------------------------------------------------------------------------------------


def validate_email(text: str) -> str:
    """Return the address: as typed before the @, the domain in lower case, an international one in its ASCII form.

    Blanks around it are dropped; raises InvalidRecipient. Quoted or accented names before the @ are refused, since
    many mail servers are not able to carry them.
    """
    address = text.strip(" \u00a0")
    if len(address) > EMAIL_LIMIT:
        raise _email_problem(address)
    if not address.isascii() and address.count("@") == 1:
        address = _ascii_domain(address)
    found = _EMAIL.fullmatch(address) if not _too_long(address) else None
    if found is None:
        raise _email_problem(address)
    return f"{found['local']}@{found['domain'].lower()}"


def _too_long(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    return len(address) > EMAIL_LIMIT or len(local) > EMAIL_LOCAL_LIMIT or len(domain) > EMAIL_DOMAIN_LIMIT


def _ascii_domain(address: str) -> str:
    local, domain = address.split("@")
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        return address


def _email_problem(address: str) -> InvalidRecipient:
    if not address:
        return InvalidRecipient("RECIPIENT_MISSING", "There is no email address. Fill in the email address column.")
    local, _, domain = address.rpartition("@")
    applies = {
        f"is too long (limit {EMAIL_LIMIT} characters, {EMAIL_LOCAL_LIMIT} before the @)": _too_long(address),
        "has a line break, space or control character": " " in address or not address.isprintable(),
        "has no @": "@" not in address,
        "has more than one @": "@" in local,
        "has quotes before the @": '"' in local,
        "has characters before the @ that mail servers refuse": not local.isascii(),
        "ends with a dot": domain.endswith("."),
        "has no ending such as .org or .co.uk": "." not in domain,
        "has a part that an address cannot have": True,
    }
    reason = next(reason for reason in applies if applies[reason])
    what = f"The email address {reason}. Write it like name@example.org."
    return InvalidRecipient("EMAIL_INVALID", what)


# --- Postal addresses -------------------------------------------------------------------------------------------


def validate_address(lines: list[str], *, international: bool) -> str:
    """Return the lines that are not blank, joined by newlines; raises InvalidRecipient.

    * 3 to 7 lines; runs of blanks become one space.
    * The last is a UK postcode (its form is checked, not that it exists), in capitals with one space.
    * With `international` the last may be the English name of a country in place of the postcode.
    """
    kept = [line for line in (" ".join(line.split()) for line in lines) if line]
    fewest, most = ADDRESS_LINES
    if not kept:
        raise InvalidRecipient("RECIPIENT_MISSING", "There is no address. Fill in the address line columns.")
    if len(kept) < fewest:
        what = f"The address has too few lines that are not blank: {len(kept)}, at least {fewest} are needed."
        raise InvalidRecipient("ADDRESS_TOO_FEW_LINES", f"{what} Add the missing ones, the postcode last.")
    if len(kept) > most:
        what = f"The address has too many lines: {len(kept)}, at most {most} are possible. Join some of them."
        raise InvalidRecipient("ADDRESS_TOO_MANY_LINES", what)
    kept[-1] = _last_line(kept[-1], international)
    return "\n".join(kept)


def _last_line(line: str, international: bool) -> str:
    if postcode := _POSTCODE.fullmatch(line.upper()):
        return f"{postcode[1]} {postcode[2]}"
    if is_country(line):
        if international:
            return line
        what = "The address ends with a country, and this service does not send abroad. End with a UK postcode."
        raise InvalidRecipient("ADDRESS_ABROAD", what)
    what = "The last line of the address is not a UK postcode"
    what += " or the English name of a country." if international else ". Write it like SW1A 1AA."
    raise InvalidRecipient("ADDRESS_POSTCODE", what)
