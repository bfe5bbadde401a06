"""What a message says: templates, the values that fill them, and how long the result may be.

A template holds `((name))`, replaced by the value, and `((urgent??text))`, shown when the value is yes. A value is put
in as it is and never looked at again, so a name in double brackets inside a value stays what it is.

Exceptions, all with a stable code and a text for the sender:
    Problem
    ├── TemplateProblem   the template cannot be read
    └── ContentProblem    the finished message cannot be sent
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

PLACEHOLDERS_LIMIT = 100  # different names in one template
# Columns that say who gets the message. They are reserved: a template cannot use them as placeholders.
RECIPIENT_COLUMNS = {
    "sms": ("phone number",),
    "email": ("email address",),
    "letter": tuple(f"address line {number}" for number in range(1, 8)),
}
YES = frozenset({"yes", "y", "true", "1", "t"})

# A name has no round brackets and stays on its line; a conditional text may hold single ones: ((late??(bring ID))).
_FIELD = re.compile(r"\(\((?!\()(?P<name>(?:(?!\?\?)[^()\n])*)(?:\?\?(?P<shown>(?:[^()]|\([^()]*\))*))?\)\)")
_LINE_BREAKS = re.compile("\r\n?|\u2028|\u2029")
_OPENING = re.compile(r"\(\(")
_IGNORED_IN_NAMES = re.compile(r"[\s_\-\ufeff]+")  # \s: non-breaking spaces too


class Problem(ValueError):
    """Something a sender gave cannot be used.

    code: stable, for programs. message: what is wrong, where, and what to do; with the code in front as str().
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TemplateProblem(Problem):
    """The template cannot be read; position counts characters from zero."""

    def __init__(self, code: str, message: str, position: int = 0) -> None:
        super().__init__(code, message)
        self.position = position


class ContentProblem(Problem):
    """The finished message cannot be sent."""


def excerpt(text: str, limit: int = 40) -> str:
    r"""Return text in quotes for showing to its sender: at most `limit` characters, control characters as \x00."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return '"' + "".join(letter if letter.isprintable() else _escaped(letter) for letter in cut) + '"'


def _escaped(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else f"\\u{ord(letter):04x}"


@lru_cache(maxsize=4096)
def column_key(name: str) -> str:
    """Return the form in which names of columns and placeholders are compared: no case, spaces, `-` or `_`."""
    return _IGNORED_IN_NAMES.sub("", unicodedata.normalize("NFC", name)).casefold()


RESERVED = frozenset(column_key(name) for names in RECIPIENT_COLUMNS.values() for name in names)


def placeholders(*texts: str) -> list[str]:
    """Return the names used in the texts, as first written, each once, in order of appearance."""
    return _once(field["name"].strip() for text in texts for field in _FIELD.finditer(text))


def required(*texts: str) -> list[str]:
    """Return the names that need a value: those used outside a condition (an empty condition means no)."""
    return _once(
        field["name"].strip() for text in texts for field in _FIELD.finditer(text) if field["shown"] is None
    )  # fmt: skip


def _once(names: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(column_key(name), name)
    return list(first.values())


def missing(names: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return those of the names (see `required`) whose value is absent or blank.

    values: by column_key.
    """
    return [name for name in names if not values.get(column_key(name), "").strip()]


def check_syntax(text: str) -> None:
    """Raise TemplateProblem, with line and character, at the first thing in a template that cannot be read."""
    problem = min(_syntax_problems(text), default=None)
    if problem:
        position, what = problem
        line, start = text.count("\n", 0, position) + 1, text.rfind("\n", 0, position) + 1
        where = f"Line {line}, character {position - start + 1}: "
        raise TemplateProblem("TEMPLATE_SYNTAX", where + what, position)


def _syntax_problems(text: str) -> Iterator[tuple[int, str]]:
    yield from _unreadable_brackets(text)
    seen: set[str] = set()
    for field in _FIELD.finditer(text):
        key = column_key(field["name"])
        if not key:
            yield field.start(), "there is no name between (( and )). Write one, or remove the brackets."
        elif key in RESERVED:
            name = excerpt(field["name"].strip())
            yield field.start(), f"{name} is the name of a recipient column. Use another name for this placeholder."
        if key not in seen and len(seen) == PLACEHOLDERS_LIMIT:
            yield field.start(), f"more than {PLACEHOLDERS_LIMIT} different placeholders. Remove some."
            return
        seen.add(key)


def _unreadable_brackets(text: str) -> Iterator[tuple[int, str]]:
    # Readable fields become blanks of the same length, so that positions stay; a (( that is left is a mistake.
    rest = _FIELD.sub(lambda field: " " * len(field[0]), text)
    if opening := _OPENING.search(rest):
        position = opening.start()
        closing = text.find("))", position)
        inner = text.find("((", position + 2)
        if -1 < inner < closing:
            yield position, "these (( are followed by another (( before they are closed. Close the first pair first."
        else:
            yield position, "these (( are not closed, or the name holds a bracket or a line break. Write ((name))."


class Compiled:
    """A template taken apart once; filling it for a row costs one or two microseconds."""

    def __init__(self, text: str) -> None:
        self._fields: list[tuple[str, str | None]] = []
        pieces, end = [], 0
        for field in _FIELD.finditer(text):
            pieces += [text[end : field.start()].replace("%", "%%"), "%s"]
            self._fields.append((column_key(field["name"]), field["shown"]))
            end = field.end()
        self._frame = "".join(pieces) + text[end:].replace("%", "%%")

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with values (by column_key) in place; ContentProblem VALUE_MISSING where a key is absent."""
        try:
            return self._frame % tuple(
                [values[key] if shown is None else _shown_if(values[key], shown) for key, shown in self._fields]
            )
        except KeyError as error:
            what = f"There is no value for {excerpt(error.args[0])}. Add a column of that name."
            raise ContentProblem("VALUE_MISSING", what) from None


def _shown_if(value: str, text: str) -> str:
    return text if value.strip().lower() in YES else ""


@lru_cache(maxsize=256)
def compile_content(text: str) -> Compiled:
    """Return the template ready to be filled; the same text is taken apart once."""
    return Compiled(text)


def line_breaks(text: str) -> str:
    """Return the text of an email or letter with every kind of line break as a newline, and no blanks at its end."""
    return _LINE_BREAKS.sub("\n", text).rstrip()


def check_length(text: str, limit: int) -> None:
    """Raise ContentProblem when the finished message is blank or has more than `limit` characters."""
    if not text.strip():
        raise ContentProblem("MESSAGE_EMPTY", "The message has no text (0 characters). Check the values of this row.")
    if len(text) > limit:
        what = f"The message has {len(text):,} characters, limit {limit:,}. Shorten the values of this row."
        raise ContentProblem("MESSAGE_TOO_LONG", what)
