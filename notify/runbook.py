"""What README's runbook says of a kind of alert, so that whoever is told need not look for it."""

import re
from functools import cache

from django.conf import settings

_START = "\n## Runbook: "


def entry(kind: str) -> str:
    """Return the paragraphs below `### <kind>`, each on one line; "" where README is not there or has none."""
    return _entries().get(kind, "")


@cache
def _entries() -> dict[str, str]:
    try:
        readme = (settings.BASE_DIR / "README.md").read_text(encoding="utf-8")
    except OSError:
        return {}
    section = readme.partition(_START)[2].partition("\n## ")[0]
    titled = re.split(r"^### (.+)\n", section, flags=re.MULTILINE)[1:]
    return {kind.strip(): _unwrapped(text) for kind, text in zip(titled[::2], titled[1::2], strict=True)}


def _unwrapped(text: str) -> str:
    plain = re.sub(r"\*([^*]+)\*", r"“\1”", text.strip()).replace("`", "")
    return "\n".join(" ".join(paragraph.split()) for paragraph in plain.split("\n\n"))
