"""Names that senders give their files: shown to people, never used as a path."""

import os
import re

# Control characters, line separators, what turns the direction of writing, and halves of surrogate pairs.
_UNSHOWABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def shown_name(file_name: str, otherwise: str) -> str:
    """Return the name as it is shown: last part only, no control characters, at most 255; `otherwise` where empty."""
    name = _UNSHOWABLE.sub("", os.path.basename(file_name.replace("\\", "/"))).strip()
    return name[:255] or otherwise
