"""Typesetting: a letter's data becomes a PDF, tagged for screen readers (PDF/UA-1), its fonts embedded.

The compiler sees no system fonts, no packages and no file but its own template and the letter's data; the same data
always give the same bytes. Data go in as a file that only the compiler sees, not as `sys_inputs`: those are a part of
typst's standard library, which is built and hashed anew for every change of them, at about a fifth of a letter's time.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import typst

from letters.glyphs import FONTS
from notify.content import ContentProblem

TEMPLATE = Path(__file__).parent / "typst" / "letter.typ"
STANDARD = "ua-1"


class Typesetter:
    """One compiler, used again and again: it keeps fonts and template ready. For one thread at a time."""

    def __init__(self) -> None:
        self._template = TEMPLATE.read_bytes()
        fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])
        self._compiler = typst.Compiler(
            self._files({}), root=str(TEMPLATE.parent), font_paths=fonts, ignore_system_fonts=True
        )

    def pdf(self, data: Mapping[str, Any], *, made_at: datetime) -> bytes:
        """Return the PDF of one letter; made_at: its creation date (aware), so that the same letter is the same bytes.

        Raises ContentProblem when its address does not fit the window or the fonts cannot print it, and what typst
        raises for anything else.
        """
        try:
            made = self._compiler.compile(
                input=self._files(data),
                format="pdf",
                pdf_standards=STANDARD,
                timestamp=int(made_at.timestamp()),
            )
        except typst.TypstError as error:
            raise _problem(error) or error from None
        assert isinstance(made, bytes)  # noqa: S101  (one PDF, not a list of pictures)
        return made

    def _files(self, data: Mapping[str, Any]) -> dict[str, bytes]:
        """Return all the compiler is to see, by name."""
        return {"main.typ": self._template, "letter.json": json.dumps(data).encode()}


def _problem(error: typst.TypstError) -> ContentProblem | None:
    """Tell what is wrong with the letter itself; None when it is something else."""
    text = str(error)
    if "ADDRESS_TOO_LONG" in text:
        what = "The address does not fit the window of the envelope. Shorten its lines or join some of them."
        return ContentProblem("ADDRESS_TOO_LONG", what)
    if "could not be displayed" in text or "disallowed codepoint" in text:
        return ContentProblem("LETTER_CHARACTER", "The letter has a character that letters cannot print. Replace it.")
    return None
