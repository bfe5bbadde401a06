"""Whoever uploads a PDF twice, at once with another, or is cut off."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.storage import storages

from letters import pdf_checks, uploading
from letters.models import Letter
from letters.precompiled_rows import TEMPLATE_NAME
from letters.strays import remove_strays
from letters.tests import clamd_server as servers
from letters.tests import uploads
from letters.tests.uploads import GOOD, NOW, lying, upload
from letters.uploading import LetterRefused
from notify.fields import new_id
from notify.models import Notification, Template, TemplateVersion
from notify.testing import make_notification, make_service
from notify.tests.together import together

pytestmark = pytest.mark.django_db
clamd_server, scanner, storage = servers.clamd_server, servers.scanner, uploads.storage
Status = Notification.Status


def test_submitting_twice_makes_one_letter(storage):
    service, key = make_service(), new_id()
    first = upload(service=service, letter_id=key)
    again = upload(b"other bytes", service=service, letter_id=key, now=NOW + timedelta(hours=1))
    assert again == first
    assert (again.sha256, Letter.objects.count(), len(lying(storage))) == (first.sha256, 1, 1)


def test_an_id_of_another_message_is_refused_without_a_word_about_it():
    other = upload()
    for key in (other.pk, make_notification().pk):
        with pytest.raises(LetterRefused, match="LETTER_ID_TAKEN"):
            upload(letter_id=key)


@pytest.mark.django_db(transaction=True)
def test_submitting_twice_at_once_makes_one_letter_with_one_file(storage):
    service, key = make_service(), new_id()
    letters = together(*(lambda: upload(service=service, letter_id=key) for _ in range(3)))
    assert {letter.pk for letter in letters} == {key}
    assert Notification.objects.count() == 1
    letter = Letter.objects.get()
    assert lying(storage) == [f"letters-scan/{letter.pdf.name}"]
    assert Template.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_uploads_at_once_for_the_last_letter_of_the_day_one_is_refused(storage):
    service = make_service(letter_daily_limit=1)

    def one():
        try:
            return upload(service=service).pk
        except LetterRefused as refused:
            return refused.code

    assert "DAILY_LIMIT" in together(one, one)
    assert (Letter.objects.count(), len(lying(storage))) == (1, 1)


def test_a_storage_that_fails_leaves_nothing_and_is_not_called_the_senders_fault(storage, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("no space")

    monkeypatch.setattr(type(storages["letters-scan"]), "_save", fails)
    with pytest.raises(LetterRefused, match="STORAGE_UNAVAILABLE: The file could not be stored"):
        upload()
    assert (Notification.objects.count(), lying(storage)) == (0, [])


def test_a_database_that_fails_leaves_no_file(storage, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError

    monkeypatch.setattr(uploading.outcomes, "settle_new", fails)
    with pytest.raises(RuntimeError):
        upload()
    assert (lying(storage), Template.objects.count()) == ([], 0)


def test_a_file_whose_uploader_died_before_its_row_goes_after_a_day(storage, monkeypatch):
    monkeypatch.setattr(uploading, "_discard", lambda *args: None)  # as a killed process does
    monkeypatch.setattr(uploading.outcomes, "settle_new", lambda *args, **kwargs: 1 / 0)
    for data in (GOOD, b"bad"):
        with pytest.raises(ZeroDivisionError):
            upload(data)
    monkeypatch.undo()
    kept = [upload(), upload(b"bad")]
    (storage / "letters-scan" / "2026-10-25" / "a note.txt").write_text("not ours")
    assert len(lying(storage)) == 5
    assert remove_strays(now=datetime.now(UTC) + timedelta(hours=23), force=True) == 0
    assert remove_strays(now=datetime.now(UTC) + timedelta(hours=25), force=True) == 2
    names = lying(storage)
    assert len(names) == 3
    assert all(any(str(letter.pk) in name for name in names) for letter in kept)
    assert remove_strays(now=datetime.now(UTC) + timedelta(hours=25), force=True) == 0


def test_strays_are_looked_for_once_an_hour(monkeypatch):
    looked = []
    monkeypatch.setattr("letters.strays._sweep", lambda alias, now: looked.append(alias) or 0)
    remove_strays(now=NOW, force=True)
    remove_strays(now=NOW)
    assert looked == ["letters-scan", "letters-invalid"]


def test_a_check_that_does_not_work_is_said_and_nothing_is_stored(storage, monkeypatch, tmp_path):
    monkeypatch.setattr(pdf_checks, "CHILD", tmp_path / "gone.py")
    with pytest.raises(LetterRefused, match="PDF_CHECK_UNAVAILABLE"):
        upload()
    assert (Notification.objects.count(), lying(storage)) == (0, [])


def test_precompiled_letters_of_a_service_share_one_template_without_words_that_no_job_takes():
    from jobs.creation import JobRefused, create_job
    from jobs.forms import AddJobForm

    service = make_service()
    for _ in range(2):
        upload(service=service)
    template = Template.objects.get()
    assert (template.name, template.service, template.content) == (TEMPLATE_NAME, service, "")
    assert TemplateVersion.objects.filter(template=template, version=template.version).exists()
    assert template not in AddJobForm().fields["template"].queryset
    with pytest.raises(JobRefused, match="no words"):
        create_job(io.BytesIO(b""), service=service, template=template, file_name="a.csv", now=NOW)
