"""Letters that wait for their PDF, and a folder that can be made to fail, for tests of rendering."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages

from letters import claiming, rendering
from letters.models import Letter
from notify.models import Alert
from notify.testing import make_letter

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def impatient(settings, tmp_path):
    """Loops end as soon as nothing is due; PDFs lie in a folder of the test's own."""
    settings.LOOP_LINGER_FOR = timedelta(0)
    place = {"BACKEND": "letters.tests.renderings.Disk", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"letters-pdf": place}
    Disk.broken.clear()
    return tmp_path


class Disk(FileSystemStorage):
    """A real folder that can be made to fail."""

    broken: set[str] = set()

    def _save(self, name, content):
        if "half" in self.broken:
            super()._save(name, ContentFile(b"%PDF-half"))
        if self.broken & {"save", "half"}:
            raise OSError(28, "No space left on device")
        return super()._save(name, content)

    def delete(self, name):
        if "delete" in self.broken:
            raise PermissionError(13, "no")
        super().delete(name)


def waiting(**fields):
    """Make a letter that waits for its PDF."""
    fields = {"created_at": NOW - timedelta(hours=1), "pdf": None} | fields
    return make_letter(**fields)


def render(now=NOW):
    """Run the loop at a moment."""
    return rendering.render_due(clock=lambda: now)


def fresh(letter):
    """Return the letter as it is now."""
    return Letter.objects.select_related("notification").get(pk=letter.pk)


def bytes_of(letter):
    """Return the PDF a letter names."""
    with storages["letters-pdf"].open(letter.pdf.name) as file:
        return file.read()


def stored(folder):
    """Name the PDFs in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.pdf"))


def open_alerts():
    """Return (kind, scope) of the open alerts."""
    return list(Alert.objects.open().values_list("kind", "scope"))


def stored_as_made(letter):
    """Store a letter's file as the loop does, without writing what became of it."""
    made = claiming.Made(letter, "0" * 64, 1)
    return rendering._store(made, b"%PDF-1.7")
