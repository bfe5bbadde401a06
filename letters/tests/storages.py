"""Storages of letters in a folder of the test's own, and what lies at the postal provider."""

import zipfile
from collections import Counter
from pathlib import Path

FOLDER = "django.core.files.storage.FileSystemStorage"
ALIASES = ("letters-pdf", "letters-scan", "letters-invalid", "postal")


def use_folders(settings, root: Path) -> Path:
    """Point every storage of letters below `root`."""
    own = {alias: {"BACKEND": FOLDER, "OPTIONS": {"location": root / alias}} for alias in ALIASES}
    settings.STORAGES = settings.STORAGES | own
    return root


def zips(folder: Path) -> list[Path]:
    """Return the zips at the postal provider, by name."""
    return sorted((folder / "postal").glob("*.zip"))


def members(folder: Path) -> Counter:
    """Count in how many zips each letter lies, by the id of its message."""
    found = Counter()
    for path in zips(folder):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            found.update(Path(name).stem for name in archive.namelist())
    return found
