"""Precompiled letters that wait for their virus check, for tests of it."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from letters import clamd, scanning
from letters.models import Letter
from letters.tests import made_up_pdfs as pdfs
from letters.tests.storages import use_folders
from notify.models import Alert, Notification
from notify.testing import make_letter

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CLEAN, INFECTED, OTHER = pdfs.good(), pdfs.good(text=b"% " + clamd._EICAR), pdfs.good(3)
LEASE = timedelta(seconds=300)
Status = Notification.Status


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    use_folders(settings, tmp_path)
    settings.LOOP_LINGER_FOR = timedelta(0)
    return tmp_path


def waiting(data=CLEAN, **fields):
    """Make a letter that waits for its check, its file in letters-scan under the name an upload gives it."""
    defaults = {"kind": "precompiled", "status": "pending-virus-check", "pages": 1, "due_at": NOW, "created_at": NOW}
    letter = make_letter(pdf=data, **(defaults | fields))
    name = f"2026-11-24/{letter.pk}.pdf"
    storages["letters-scan"].delete(letter.pdf.name)
    letter.pdf.name = storages["letters-scan"].save(name, ContentFile(data))
    letter.save()
    return letter


def run(now=NOW):
    """Run the loop at a moment."""
    return scanning.scan_due(clock=lambda: now)


def lying(storage):
    """Name the folders in which files lie."""
    return sorted(path.relative_to(storage).parts[0] for path in storage.rglob("*") if path.is_file())


def found(letter):
    """Return the letter as it is now, with its status."""
    letter = Letter.objects.select_related("notification").get(pk=letter.pk)
    return letter, letter.notification.status


def alerts():
    """Return the open alerts by kind."""
    return {alert.kind: alert for alert in Alert.objects.open()}
