"""The English names of countries, for the last line of an address abroad."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

# What people write and the list below does not have.
OTHER_NAMES = [
    "USA", "US", "U.S.A.", "United States of America", "America", "UK", "United Kingdom", "Great Britain",
    "England", "Scotland", "Wales", "Northern Ireland", "Republic of Ireland", "Eire", "Holland", "The Netherlands",
    "Czechia", "Türkiye", "Ivory Coast", "UAE", "Russian Federation", "People's Republic of China",
    "Republic of Korea", "Viet Nam", "Cabo Verde", "Timor-Leste", "Macao", "Democratic Republic of the Congo",
    "Republic of the Congo", "Central African Republic", "The Gambia", "The Bahamas", "The Philippines", "Samoa",
    "Saint Vincent and the Grenadines", "São Tomé and Príncipe", "Vatican", "Holy See",
]  # fmt: skip


def is_country(line: str) -> bool:
    """Tell whether the line is the English name of a country or territory, ignoring case, accents and punctuation."""
    return _plain(line) in _names()


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.replace("&", " and ")).casefold()
    words = re.sub(r"[^a-z ]", "", re.sub(r"[-\s]+", " ", decomposed)).split()
    return " ".join("saint" if word == "st" else word for word in words)


@cache
def _names() -> frozenset[str]:
    """Read the list of ISO 3166 names that comes with the time zone data (package tzdata)."""
    table = files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text(encoding="utf-8")
    listed = [line.split("\t")[1] for line in table.splitlines() if not line.startswith("#")]
    return frozenset(_plain(form) for name in [*listed, *OTHER_NAMES] for form in _forms(name.strip()))


def _forms(name: str) -> Iterator[str]:
    """Give the ways to read an entry such as “Korea (South)”: as it is, and “South Korea”."""
    yield name
    if found := re.fullmatch(r"(.+) \((.+)\)", name):
        yield f"{found[2]} {found[1]}"
