"""The folder from which the postal provider takes what is printed: a name there always means a whole file.

A file is written as `<name>.part` and renamed. Object stores need no such step: there a file appears when it is whole.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from letters import files
from letters.models import PrintFile
from providers.models import Provider

_CHUNK = 1_000_000  # bytes read at a time
PART = ".part"


def postal_storage() -> Storage:
    """Return where zips, manifests and acknowledgements lie."""
    return storages[files.POSTAL]


def postal_provider() -> Provider | None:
    """Return the provider that prints, the active one first; None: zips stay in their folder, without receipts."""
    found = Provider.objects.filter(backend=Provider.Backend.POSTAL).defer("config")
    return found.order_by("-active", "identifier").first()


def put_whole(storage: Storage, name: str, content: IO[bytes]) -> None:
    """Store a file under its name, in place of any other of that name; cut off, only `<name>.part` is left."""
    content.seek(0)
    if isinstance(storage, FileSystemStorage):
        _put_in_folder(storage, name, content)
    elif hasattr(storage, "rename"):
        storage.delete(name + PART)
        storage.save(name + PART, File(content))
        storage.rename(name + PART, name)
    else:
        storage.save(name, File(content))


def move(storage: Storage, before: str, after: str) -> None:
    """Rename a file, in place of any other of that name; of an object store it is copied, then deleted."""
    if isinstance(storage, FileSystemStorage):
        target = Path(storage.path(after))
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(storage.path(before)).replace(target)
    elif hasattr(storage, "rename"):
        storage.rename(before, after)
    else:
        with storage.open(before, "rb") as content:
            storage.save(after, File(content))
        storage.delete(before)


def lies_whole(storage: Storage, file: PrintFile, beat: Callable[[], None]) -> bool:
    """Say whether exactly these bytes lie under the file's name. beat: called with each piece."""
    if not storage.exists(file.name) or storage.size(file.name) != file.size:
        return False
    digest = hashlib.sha256()
    with storage.open(file.name, "rb") as content:
        while piece := content.read(_CHUNK):
            beat()
            digest.update(piece)
    return digest.hexdigest() == file.sha256


def _put_in_folder(storage: FileSystemStorage, name: str, content: IO[bytes]) -> None:
    target, part = Path(storage.path(name)), Path(storage.path(name + PART))
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as out:
        while piece := content.read(_CHUNK):
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())  # the letters count as sent right after
    part.replace(target)
