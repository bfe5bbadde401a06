"""Uploaded PDFs, for tests of what becomes of them."""

import io
from datetime import UTC, datetime

import pytest

from letters.tests import made_up_pdfs as pdfs
from letters.tests.storages import use_folders
from letters.uploading import Upload, upload_letter
from notify.fields import new_id
from notify.testing import make_service

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 01:30 local, on the day the clocks go back
GOOD = pdfs.good(2)


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    use_folders(settings, tmp_path)
    settings.CLAMD_SOCKET = ""
    return tmp_path


def upload(data=GOOD, *, now=NOW, **fields):
    """Upload a file."""
    defaults = {"letter_id": new_id(), "file_name": "letter.pdf"}
    if "service" not in fields:
        fields["service"] = make_service()
    return upload_letter(io.BytesIO(data), Upload(**(defaults | fields)), now=now)


def lying(storage):
    """Name the files in all storages."""
    return sorted(str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file())
