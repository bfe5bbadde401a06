"""A PDF becomes a letter, or a row that says why not; whoever submits twice, at once or is cut off."""

import hashlib
import io
from datetime import UTC, datetime, timedelta

import pikepdf
import pytest
from django.core.files.storage import storages

from callbacks.models import Callback
from letters import pdf_checks, uploading
from letters.models import Letter
from letters.precompiled_rows import TEMPLATE_NAME
from letters.strays import remove_strays
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.uploading import LetterRefused, Upload, upload_letter
from notify.fields import new_id
from notify.models import Alert, Notification, Template, TemplateVersion
from notify.testing import make_endpoint, make_notification, make_service
from notify.tests.together import together

pytestmark = pytest.mark.django_db
clamd_server, scanner = servers.clamd_server, servers.scanner
NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 01:30 local, on the day the clocks go back
GOOD = pdfs.good(2)
Status = Notification.Status


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    places = {
        name: {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / name}}
        for name in ("letters-pdf", "letters-scan", "letters-invalid")
    }
    settings.STORAGES = settings.STORAGES | places
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


def test_a_good_pdf_becomes_a_letter_that_waits_for_its_virus_check(storage):
    service = make_service()
    letter = upload(
        service=service, file_name="../../etc/Mrs\u202e A.pdf", postage="first", reference=" ref-1 ",
        address=("Ms A Reader", "", " 1 High Street "),
    )  # fmt: skip
    letter.refresh_from_db()
    message = letter.notification
    assert (message.status, message.notification_type, message.service) == (
        Status.PENDING_VIRUS_CHECK,
        "letter",
        service,
    )
    assert (message.recipient, message.client_reference) == ("Ms A Reader\n1 High Street", "ref-1")
    assert (message.due_at, message.created_at, message.personalisation) == (None, NOW, {})
    assert (letter.kind, letter.pages, letter.postage, letter.due_at) == ("precompiled", 2, "first", NOW)
    assert letter.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert letter.original_file_name == "Mrs A.pdf"
    assert lying(storage) == [f"letters-scan/{letter.pdf.name}"]
    assert letter.pdf.name.startswith(f"2026-10-25/{letter.pk}-")
    assert (storage / "letters-scan" / letter.pdf.name).read_bytes() == GOOD
    assert list(Notification.objects.found_by("Ms A Reader\n1 High Street")) == [message]
    assert Letter.objects.ready().count() == 0


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "PDF_NOT_PDF"), (b"<html>%PDF-1.7", "PDF_NOT_PDF"), (GOOD[:-50], "PDF_DAMAGED"),
     (pdfs.good(11), "PDF_PAGES"), (pdfs.active("JavaScript"), "PDF_ACTIVE_CONTENT")],
)  # fmt: skip
def test_a_bad_file_becomes_a_failed_letter_that_is_kept_and_told(storage, data, code):
    """K6."""
    service = make_service()
    make_endpoint(service)
    letter = upload(data, service=service)
    letter.refresh_from_db()
    assert letter.notification.status == Status.VALIDATION_FAILED
    assert letter.notification.status_reason.startswith(f"{code}: ")
    assert (letter.due_at, letter.pages, letter.sha256) == (None, None, hashlib.sha256(data).hexdigest())
    assert lying(storage) == [f"letters-invalid/{letter.pdf.name}"]
    assert (storage / "letters-invalid" / letter.pdf.name).read_bytes() == data
    assert list(Callback.objects.values_list("notification_id", "notification_status")) == [
        (letter.pk, Status.VALIDATION_FAILED)
    ]
    assert not Alert.objects.exists()


@pytest.mark.parametrize(("over", "fits"), [(-1, True), (0, True), (1, False)])
def test_reading_ends_at_the_limit_of_size(settings, storage, over, fits):
    """L16: nothing of a file over the limit is kept, but its row says what became of it."""
    settings.LETTER_FILE_BYTES_LIMIT = len(GOOD) - over
    letter = upload()
    if fits:
        assert letter.notification.status == Status.PENDING_VIRUS_CHECK
    else:
        assert letter.notification.status_reason.startswith("UPLOAD_TOO_LARGE: The file is larger than")
        assert (letter.notification.status, letter.pdf.name, lying(storage)) == (Status.VALIDATION_FAILED, "", [])


def test_an_endless_file_is_read_in_pieces_and_no_further_than_the_limit(settings):
    settings.LETTER_FILE_BYTES_LIMIT = 5_000_000

    class Endless:
        given = 0

        def read(self, size):
            assert 0 < size <= 1_000_000
            self.given += size
            return b"%PDF-" + bytes(size - 5)

    endless = Endless()
    letter = upload_letter(endless, Upload(new_id(), make_service(), "endless.pdf"), now=NOW)
    assert letter.notification.status == Status.VALIDATION_FAILED
    assert endless.given <= 6_000_000


@pytest.mark.parametrize(
    "data", [servers.clamd._EICAR, GOOD[:-50] + servers.clamd._EICAR], ids=["the test file itself", "in a damaged PDF"]
)
def test_a_bad_file_with_a_virus_is_called_by_that_name_where_there_is_a_scanner(scanner, storage, data):
    """L14."""
    letter = upload(data)
    assert letter.notification.status == Status.VIRUS_SCAN_FAILED
    assert letter.notification.status_reason == f"VIRUS_FOUND: {servers.VIRUS}"
    assert (letter.scan_verdict, letter.scanned_sha256) == ("infected", letter.sha256)
    assert lying(storage) == [f"letters-invalid/{letter.pdf.name}"]
    assert Alert.objects.get().kind == "virus-found"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "PDF_ACTIVE_CONTENT"),
        ({"encryption": pikepdf.Encryption(owner="owner", user="secret")}, "PDF_ENCRYPTED"),
        ({"encryption": pikepdf.Encryption(owner="owner", user="")}, "PDF_RESTRICTED"),
    ],
)
def test_a_virus_in_an_attachment_is_never_printed_even_where_the_scanner_cannot_see_it(
    scanner, storage, options, code
):
    """L14: whether clamd looks into it depends on how it is packed; the file is refused either way."""
    letter = upload(pdfs.with_attachment(servers.clamd._EICAR, **options))
    reason = letter.notification.status_reason
    assert letter.notification.status in (Status.VALIDATION_FAILED, Status.VIRUS_SCAN_FAILED)
    assert reason.startswith(f"{code}: ") or reason == f"VIRUS_FOUND: {servers.VIRUS}"
    assert lying(storage) == [f"letters-invalid/{letter.pdf.name}"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"postage": "pigeon"}, "POSTAGE_UNKNOWN"),
        ({"reference": "r" * 256}, "REFERENCE_INVALID"),
        ({"reference": "two\nlines"}, "REFERENCE_INVALID"),
        ({"reference": "nul\x00"}, "REFERENCE_INVALID"),
        ({"address": ("line",) * 8}, "ADDRESS_INVALID"),
        ({"address": ("l" * 201,)}, "ADDRESS_INVALID"),
        ({"address": ("a\x00b",)}, "ADDRESS_INVALID"),
    ],
)
def test_what_cannot_be_a_letter_is_refused_with_nothing_stored(storage, fields, code):
    with pytest.raises(LetterRefused, match=code):
        upload(**fields)
    assert (Notification.objects.count(), lying(storage)) == (0, [])


def test_a_service_that_is_switched_off_uploads_nothing(storage):
    with pytest.raises(LetterRefused, match="SERVICE_INACTIVE"):
        upload(service=make_service(active=False))
    assert lying(storage) == []


def test_a_service_switched_off_while_its_file_is_read_uploads_nothing(storage, monkeypatch):
    service = make_service()

    def meanwhile(copy):
        type(service).objects.update(active=False)
        return pdf_checks.Checked(1)

    monkeypatch.setattr(uploading, "check_pdf", meanwhile)
    with pytest.raises(LetterRefused, match="SERVICE_INACTIVE"):
        upload(service=service)
    assert (Notification.objects.count(), lying(storage)) == (0, [])


def test_the_daily_limit_counts_the_letters_of_the_local_day_whatever_made_them(storage):
    service = make_service(letter_daily_limit=3)
    midnight = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
    fields = {"service": service, "notification_type": "letter"}
    make_notification(created_at=midnight - timedelta(seconds=1), **fields)  # yesterday's
    make_notification(created_at=midnight, **fields)
    make_notification(created_at=midnight, service=service)  # an SMS
    make_notification(created_at=midnight, status=Status.VALIDATION_FAILED, **fields)
    upload(service=service)
    upload(b"bad", service=service)  # does not count
    upload(service=service)
    with pytest.raises(LetterRefused, match="DAILY_LIMIT"):
        upload(service=service)
    upload(service=service, now=NOW + timedelta(days=1))


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


def test_a_storage_that_fails_leaves_nothing(storage, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("no space")

    monkeypatch.setattr(type(storages["letters-scan"]), "_save", fails)
    with pytest.raises(OSError, match="no space"):
        upload()
    assert Notification.objects.count() == 0


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
