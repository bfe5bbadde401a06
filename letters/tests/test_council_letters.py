"""The sample file of a council, from its upload to PDFs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pypdfium2
import pytest
from django.core.files.storage import storages

from jobs.creation import create_job
from jobs.processing import claim_job, process_rows
from letters import rendering
from letters.models import Letter
from notify.models import Notification
from notify.testing import make_service, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "council_letters.csv"


def test_four_hundred_letters_are_rendered_and_the_bad_row_is_validation_failed(settings, tmp_path):
    settings.LOOP_LINGER_FOR = timedelta(0)
    place = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"letters-pdf": place}
    service = make_service(name="Eastshire District Council", letter_contact_block="Town Hall\nAnytown\nAB1 1AA")
    template = make_template(
        service, "letter", subject="Your council tax", content="Dear ((name)), you owe ((amount)) by ((due date))."
    )
    with SAMPLE.open("rb") as file:
        job = create_job(file, service=service, template=template, file_name=SAMPLE.name, now=NOW)
    assert process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW)
    bad = Notification.objects.get(job=job, status="validation-failed")
    assert (bad.job_row_number, bad.recipient) == (400, "Only One Line")
    assert bad.status_reason.startswith("ADDRESS_TOO_FEW_LINES")

    assert rendering.render_due(clock=lambda: NOW) == 400
    letters = Letter.objects.ready().select_related("notification")
    assert letters.count() == 400
    assert {letter.pages for letter in letters} == {1}
    for letter in letters[::40]:
        with storages["letters-pdf"].open(letter.pdf.name) as file, pypdfium2.PdfDocument(file.read()) as document:
            text = document[0].get_textpage().get_text_range().replace("\r\n", "\n")
        values = letter.notification.personalisation
        assert letter.notification.recipient in text
        assert f"Dear {values['name']}, you owe {values['amount']} by {values['duedate']}." in text
        assert "24 November 2026\nYour council tax\n" in text
