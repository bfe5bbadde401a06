"""A PDF becomes a letter, or a row that says why not."""

import hashlib
from datetime import UTC, datetime, timedelta

import pikepdf
import pytest

from callbacks.models import Callback
from letters import clamd, pdf_checks, uploading
from letters.models import Letter
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.tests import uploads
from letters.tests.uploads import GOOD, NOW, lying, upload
from letters.uploading import LetterRefused, Upload, upload_letter
from notify.fields import new_id
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_service

pytestmark = pytest.mark.django_db
clamd_server, scanner, storage = servers.clamd_server, servers.scanner, uploads.storage
Status = Notification.Status


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
    assert (letter.pages, letter.sha256) == (None, hashlib.sha256(data).hexdigest())
    assert letter.due_at == (NOW if data else None)  # what it holds is found out once there is a scanner
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


@pytest.mark.parametrize("options", [{}, {"encryption": pikepdf.Encryption(owner="owner", user="")}])
@pytest.mark.parametrize("after", [b"", b" and more"])
def test_a_virus_in_a_packed_or_encrypted_attachment_is_found(scanner, storage, options, after):
    """L14: clamd does not unpack these by itself."""
    letter = upload(pdfs.with_attachment(clamd._EICAR + after, **options))
    assert letter.notification.status == Status.VIRUS_SCAN_FAILED
    assert letter.notification.status_reason == f"VIRUS_FOUND: {servers.VIRUS}"
    assert (letter.scan_verdict, letter.scanned_sha256) == ("infected", letter.sha256)
    assert lying(storage) == [f"letters-invalid/{letter.pdf.name}"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pdfs.with_attachment(b"harmless"), "PDF_ACTIVE_CONTENT"),
        (pdfs.with_attachment(clamd._EICAR, encryption=pikepdf.Encryption(owner="o", user="secret")), "PDF_ENCRYPTED"),
    ],
    ids=["no virus", "a password nobody knows"],
)
def test_what_holds_no_virus_that_can_be_seen_keeps_its_own_reason(scanner, storage, data, code):
    letter = upload(data)
    assert letter.notification.status == Status.VALIDATION_FAILED
    assert letter.notification.status_reason.startswith(f"{code}: ")
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
