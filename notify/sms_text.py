"""Text messages: the characters they travel in and the parts they are billed by.

Source of the character set and of the part lengths: 3GPP TS 23.038 (GSM 7-bit default alphabet and its extension
table) and TS 23.040 (a part of a longer message gives up some of its room to a header).
"""

import re
import unicodedata

GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")  # each takes the room of two
GSM_SINGLE, GSM_PART = 160, 153  # characters in a message of one part, and in each part of a longer one
UNICODE_SINGLE, UNICODE_PART = 70, 67  # UTF-16 units

# What office programs put in place of plain characters. One of them would make the whole message unicode, with parts
# of less than half the length; a name's own letters do the same but are kept.
PLAIN = {
    **dict.fromkeys("‘’‚‛′`", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\t\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\u205f\u2028\u2029", " "),
    **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
    "…": "...",
    "\r\n": "\n",
    "\r": "\n",
}
_TYPOGRAPHIC = re.compile("\r\n|[" + "".join(character for character in PLAIN if len(character) == 1) + "]")
_OUTSIDE_GSM = re.compile("[^" + re.escape("".join(GSM | GSM_EXTENSION)) + "]")


def sms_text(text: str) -> str:
    """Return the text as it is sent: typographic characters plain, accents composed, no blanks at its end."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _TYPOGRAPHIC.sub(lambda found: PLAIN[found[0]], text).rstrip()


def is_gsm(text: str) -> bool:
    """Tell whether every character is in the GSM alphabet or its extension table; one that is not costs the most."""
    return _OUTSIDE_GSM.search(text) is None


def sms_parts(text: str) -> int:
    """Return how many parts the finished text is sent and billed in; 0 for no text."""
    if is_gsm(text):
        return _parts(len(text) + sum(map(text.count, GSM_EXTENSION)), GSM_SINGLE, GSM_PART)
    return _parts(len(text.encode("utf-16-le")) // 2, UNICODE_SINGLE, UNICODE_PART)


def _parts(length: int, single: int, part: int) -> int:
    if length <= single:
        return 1 if length else 0
    return -(-length // part)
