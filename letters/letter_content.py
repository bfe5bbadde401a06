"""What a letter says, as data for the typesetter: parts of text, none of which is ever read as markup.

The words of a template may be formatted: `# ` begins a heading, `* ` a bullet, `1. ` a numbered item. Only the
template's own words are; what a value contains is printed as it was typed.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from letters.glyphs import printable
from notify import content
from notify.clock import local_date
from notify.models import Notification, Service
from providers.words import Words

# Marks put into values while the template's lines are told apart. Python counts both as blanks, so a value that
# decides a condition still reads as yes or no.
_VALUE, _BREAK = "\x1f", "\x1e"
_FORMAT = re.compile(r"(?P<heading># +)|(?P<bullets>\* +)|(?P<numbers>(?P<start>[0-9]{1,3})\. +)")
_LINE_BREAKS = re.compile("\r\n?|\u2028|\u2029")
_LONG_WORD = re.compile(r"\S{30,}")  # thirty of the widest capitals fill a line
_BREAKABLE = 10  # characters after which such a word may go on in the next line
_NOTHING = {ord("\ufeff"): None, ord("\t"): "    "}


def letter_data(notification: Notification, words: Words) -> dict[str, Any]:
    """Return everything one letter says.

    Raises ContentProblem when it cannot be printed as it was written: a value is missing, it is empty or far too
    long, or the font has not one of its characters.
    """
    subject, body = words.compiled(notification)
    return assemble(
        notification.service,
        address=notification.recipient.split("\n"),
        subject=subject,
        body=body,
        values=notification.personalisation,
        made_at=notification.created_at,
    )


def assemble(
    service: Service,
    *,
    address: list[str],
    subject: content.Compiled,
    body: content.Compiled,
    values: Mapping[str, str],
    made_at: datetime,
) -> dict[str, Any]:
    """Return what a letter says, from its pieces; values by column_key. Raises as `letter_data` does."""
    heading = " ".join(subject.render(values).split())
    text = _clean(body.render({key: _marked(value) for key, value in values.items()}))
    content.check_length(text, settings.LETTER_CHARACTER_LIMIT)
    contact = _clean(service.letter_contact_block.strip())
    said = {
        "The address": _clean("\n".join(address)),
        "The subject": _clean(heading),
        "The text": text.replace(_VALUE, "").replace(_BREAK, ""),
        "The service's name or contact block": f"{service.name}\n{contact}",
    }
    for what, words in said.items():
        _check(what, words)
    day = local_date(made_at)
    return {
        "lang": "en",
        "title": said["The subject"] or service.name,
        "sender": _breakable(service.name),
        "subject": _breakable(said["The subject"]),
        "contact": [_breakable(line.strip()) for line in contact.split("\n")],
        "address": _breakable(said["The address"]).split("\n"),
        "date": f"{day.day} {day:%B %Y}",
        "parts": parts(text),
    }


def parts(text: str) -> list[dict[str, Any]]:
    """Take formatted text apart: paragraphs, headings, lists. A line without a mark goes on with what it follows."""
    found: list[dict[str, Any]] = []
    open_block = False  # whether a line without a mark goes on with the last part
    for line in text.split("\n"):
        mark = _FORMAT.match(line)
        words = _plain(line[mark.end() :] if mark else line)
        if not words.strip():
            open_block = False
        elif mark is None:
            _go_on(found, words) if open_block else found.append({"kind": "paragraph", "text": words})
            open_block = True
        else:
            _add(found, mark, words)
            open_block = mark.lastgroup != "heading"
    return found


def _add(found: list[dict[str, Any]], mark: re.Match[str], words: str) -> None:
    if mark["heading"]:
        found.append({"kind": "heading", "text": words})
        return
    kind = "bullets" if mark["bullets"] else "numbers"
    if not found or found[-1]["kind"] != kind:
        found.append({"kind": kind, "items": []} | ({"start": int(mark["start"])} if mark["start"] else {}))
    found[-1]["items"].append(words)


def _go_on(found: list[dict[str, Any]], words: str) -> None:
    if "items" in found[-1]:
        found[-1]["items"][-1] += "\n" + words
    else:
        found[-1]["text"] += "\n" + words


def _marked(value: str) -> str:
    """Mark where a value begins and its own line breaks; marks it brought along become what is never printable."""
    kept = _clean(value).replace(_VALUE, "\0").replace(_BREAK, "\0")
    return _VALUE + kept.replace("\n", _BREAK)


def _clean(text: str) -> str:
    return _LINE_BREAKS.sub("\n", text).translate(_NOTHING)


def _plain(line: str) -> str:
    return _breakable(line.replace(_VALUE, "").replace(_BREAK, "\n").rstrip())


def _breakable(text: str) -> str:
    """Let a word that may be longer than a line go on in the next one: the typesetter would let it run off the page."""
    return _LONG_WORD.sub(lambda word: "\u200b".join(_slices(word[0])), text)


def _slices(word: str) -> list[str]:
    return [word[start : start + _BREAKABLE] for start in range(0, len(word), _BREAKABLE)]


def _check(what: str, text: str) -> None:
    """Raise ContentProblem at a character that cannot be printed: no letter of a name is ever silently left out."""
    if strange := set(text) - printable():
        character = min(strange, key=text.find)
        raise content.ContentProblem(
            "LETTER_CHARACTER",
            f"{what} has {content.excerpt(character)} (U+{ord(character):04X}), which letters cannot print. "
            "Write it in another way.",
        )
