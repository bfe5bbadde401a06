"""The tasks of letters: what they hand to the verbs, and whom they wake."""

from datetime import timedelta

import pytest

from callbacks.tasks import deliver_due_callbacks
from letters.models import Letter
from letters.tasks import render_letter_pdfs
from notify.testing import make_letter


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep PDFs out of the installation's own folder, and loops from waiting for more."""
    settings.LOOP_LINGER_FOR = timedelta(0)
    settings.STORAGES = settings.STORAGES | {
        "letters-pdf": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }


@pytest.mark.django_db
def test_rendering_runs_now_and_wakes_the_callbacks_of_what_cannot_be_printed(django_capture_on_commit_callbacks):
    letter = make_letter(pdf=None)
    with django_capture_on_commit_callbacks() as woken:
        assert render_letter_pdfs() == {"handled": 1}
    assert [callback.func.__self__.name for callback in woken] == [deliver_due_callbacks.name]
    assert Letter.objects.ready().get() == letter
    with django_capture_on_commit_callbacks() as woken:
        assert render_letter_pdfs() == {"handled": 0}
    assert woken == []
