"""Which characters the fonts of letters can print, read from the fonts themselves."""

import struct
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parent / "typst" / "fonts"
# Without a picture of their own; the typesetter leaves them out or lets them join and part letters.
_INVISIBLE = "\n\u00ad\u034f\u200b\u200c\u200d\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufe0e\ufe0f"
# They would turn the text that follows round, so that it no longer reads as it was typed.
_TURNING = "\u202a\u202b\u202d\u202e"


@cache
def printable() -> frozenset[str]:
    """Return the characters that every font of letters has, and those that need no picture."""
    points = frozenset.intersection(*[_covered(font) for font in sorted(FONTS.glob("*.ttf"))])
    printed = frozenset(chr(point) for point in points if point >= 0x20 and not 0x7F <= point < 0xA0)
    return (printed | frozenset(_INVISIBLE)) - frozenset(_TURNING)


def _covered(font: Path) -> frozenset[int]:
    """Return the code points of a TrueType font, from its cmap table of format 12 (platform 3, encoding 10)."""
    data = font.read_bytes()
    (tables,) = struct.unpack_from(">H", data, 4)
    offsets = dict(struct.unpack_from(">4s4xI", data, 12 + 16 * place) for place in range(tables))
    cmap = offsets[b"cmap"]
    (count,) = struct.unpack_from(">H", data, cmap + 2)
    records = [struct.unpack_from(">HHI", data, cmap + 4 + 8 * place) for place in range(count)]
    start = cmap + next(offset for platform, encoding, offset in records if (platform, encoding) == (3, 10))
    (groups,) = struct.unpack_from(">I", data, start + 12)
    points: set[int] = set()
    for place in range(groups):
        first, last, _ = struct.unpack_from(">III", data, start + 16 + 12 * place)
        points.update(range(first, last + 1))
    return frozenset(points)
