"""Where the three secret keys come from: the environment, or in development a file made once.

SECRET_KEY signs sessions, ENCRYPTION_KEYS (Fernet keys, comma-separated, newest first) encrypt personal data and
secrets at rest, SEARCH_HASH_KEY keys the hash by which a recipient is found.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

NAMES = ("SECRET_KEY", "ENCRYPTION_KEYS", "SEARCH_HASH_KEY")


def load_keys(environment: Mapping[str, str], *, file: Path, production: bool) -> dict[str, str]:
    """Return the three keys; what the environment lacks is read from `file`, which is made at the first start.

    In production nothing is made: a key that is missing raises ImproperlyConfigured with its name.
    """
    missing = [name for name in NAMES if not environment.get(name)]
    if missing and production:
        raise ImproperlyConfigured(
            f"{missing[0]} is not set. With NOTIFY_ENVIRONMENT live or production, set {', '.join(NAMES)} in the "
            "environment; README, “Settings”, says how to make them."
        )
    stored = _stored_keys(file) if missing else {}
    return {name: environment.get(name) or stored[name] for name in NAMES}


def _stored_keys(file: Path) -> dict[str, str]:
    """Read the development keys, making the file first if nobody has: of several first starts one wins."""
    if not file.exists():
        _write_once(file)
    lines = (line.partition("=") for line in file.read_text().splitlines() if "=" in line)
    stored = {name: value for name, _, value in lines}
    absent = [name for name in NAMES if not stored.get(name)]
    if absent:
        raise ImproperlyConfigured(f"{file} has no {absent[0]}: add it, or set {absent[0]} in the environment.")
    return stored


def _write_once(file: Path) -> None:
    """Write the whole file under another name, then link it into place: link() fails where a file already is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    made = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "SEARCH_HASH_KEY": secrets.token_urlsafe(32),
    }
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=".secrets-")  # mkstemp: readable by its owner only
    try:
        with os.fdopen(handle, "w") as out:
            out.writelines(f"{name}={value}\n" for name, value in made.items())
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(part, file)
        except FileExistsError:
            return
    finally:
        os.unlink(part)
