"""Adding a precompiled letter in the admin, and by `manage.py upload_letter`."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.urls import reverse

from letters import admin_upload
from letters.management.commands import upload_letter as command
from letters.models import Letter
from letters.tests import made_up_pdfs as pdfs
from notify.clock import local_date
from notify.fields import new_id
from notify.models import Notification
from notify.testing import make_endpoint, make_service

pytestmark = pytest.mark.django_db
LIST, ADD = "/admin/letters/letter/", "/admin/letters/letter/add/"
GOOD = pdfs.good()
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


@pytest.fixture
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    for task in (admin_upload.scan_letters, admin_upload.deliver_due_callbacks):
        monkeypatch.setattr(task, "nudge", lambda name=task.name: sent.append(name))
    return sent


def form(service, *, data=GOOD, name="letter.pdf", **fields):
    """Fill in the form."""
    file = SimpleUploadedFile(name, data, content_type="application/pdf")
    filled = {"letter_id": str(new_id()), "service": str(service.pk), "file": file, "postage": "second"}
    return filled | {"reference": "", "address": ""} | fields


def shown(client, letter):
    """Return the text of a letter's page."""
    return client.get(reverse("admin:letters_letter_change", args=[letter.pk])).content.decode()


def test_a_pdf_becomes_a_letter_and_the_scanner_is_woken(admin_client, woken):
    assert "Add precompiled letter" in admin_client.get(LIST).content.decode()
    assert "at most 10 pages and 100 MB" in admin_client.get(ADD).content.decode()
    address = "Ms A Reader\r\n1 High Street"
    answer = admin_client.post(
        ADD, form(make_service(), reference="r-1", address=address, postage="first"), follow=True
    )
    letter = Letter.objects.get()
    assert answer.redirect_chain[0][0] == reverse("admin:letters_letter_change", args=[letter.pk])
    assert "printed once it is found clean" in answer.content.decode()
    assert (letter.postage, letter.notification.recipient) == ("first", "Ms A Reader\n1 High Street")
    assert "No virus scanner is set up" in answer.content.decode()
    assert letter.notification.status == Status.PENDING_VIRUS_CHECK
    assert woken == ["letters.scan_letters"]
    assert LogEntry.objects.get().object_id == str(letter.pk)
    page = shown(admin_client, letter)
    assert "letter.pdf" in page
    assert f"{letter.pdf.name} in letters-scan" in page


def test_a_bad_file_is_shown_with_its_reason_and_its_service_is_told(admin_client, woken):
    service = make_service()
    make_endpoint(service)
    answer = admin_client.post(ADD, form(service, data=pdfs.good(11)), follow=True).content.decode()
    letter = Letter.objects.get()
    for words in ("will not be printed", "PDF_PAGES: The PDF has 11 pages", "alidation"):
        assert words in answer
    assert letter.notification.status == Status.VALIDATION_FAILED
    assert "PDF_PAGES: The PDF has 11 pages" in shown(admin_client, letter)
    assert woken == ["callbacks.deliver_due_callbacks"]


def test_the_list_shows_those_that_wait_too_long(admin_client, woken):
    admin_client.post(ADD, form(make_service()))
    assert len(admin_client.get(LIST).context["cl"].result_list) == 1
    assert len(admin_client.get(LIST, {"problem": "unscanned"}).context["cl"].result_list) == 0
    Notification.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=91))
    assert len(admin_client.get(LIST, {"problem": "unscanned"}).context["cl"].result_list) == 1


def test_an_empty_file_is_not_a_pdf(admin_client, woken):
    admin_client.post(ADD, form(make_service(), data=b""))
    assert Letter.objects.get().notification.status_reason.startswith("PDF_NOT_PDF")


def test_sending_the_form_twice_makes_one_letter_and_says_so(admin_client, woken):
    service, key = make_service(), str(new_id())
    first = admin_client.post(ADD, form(service, letter_id=key))
    again = admin_client.post(ADD, form(service, letter_id=key), follow=True)
    assert again.redirect_chain[0][0] == first.url
    assert "already made" in again.content.decode()
    assert (Letter.objects.count(), LogEntry.objects.count(), len(woken)) == (1, 1, 1)


def test_each_form_has_an_id_of_its_own_and_keeps_it_and_what_was_typed_after_a_mistake(admin_client):
    """K4."""

    def asked(answer):
        return str(answer.context["form"]["letter_id"].value())

    assert asked(admin_client.get(ADD)) != asked(admin_client.get(ADD))
    filled = form(make_service(letter_daily_limit=0), reference="my reference", address="one\ntwo")
    answer = admin_client.post(ADD, filled)
    assert (answer.status_code, asked(answer)) == (200, filled["letter_id"])
    text = answer.content.decode()
    for words in ("DAILY_LIMIT", "my reference", "one\ntwo", "choose the file again"):
        assert words in text
    assert Letter.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"service": "nonsense"}, "service"),
        ({"postage": "pigeon"}, "postage"),
        ({"file": ""}, "file"),
        ({"letter_id": "nonsense"}, "letter_id"),
        ({"reference": "r" * 256}, "reference"),
        ({"reference": "a\u2028b"}, "reference"),
        ({"address": "\n".join("12345678")}, "address"),
    ],
)
def test_a_form_that_makes_no_letter_says_where(admin_client, woken, fields, field):
    answer = admin_client.post(ADD, form(make_service()) | fields)
    assert answer.status_code == 200
    assert field in answer.context["form"].errors
    assert (Letter.objects.count(), woken) == (0, [])


def test_an_inactive_service_is_not_offered(admin_client):
    service = make_service(active=False)
    assert "service" in admin_client.post(ADD, form(service)).context["form"].errors


@pytest.mark.parametrize("name", ["../../etc/x.pdf", "a\nb.pdf", "\u202efdp.exe", "n" * 300 + ".pdf", "<b>.pdf"])
def test_a_files_name_is_shown_never_used(admin_client, woken, storage, name):
    admin_client.post(ADD, form(make_service(), name=name))
    letter = Letter.objects.get()
    day = local_date(letter.notification.created_at)
    assert re.fullmatch(rf"{day}/{letter.pk}-[0-9a-f]{{8}}\.pdf", letter.pdf.name)
    assert not set(letter.original_file_name) & set("/\n\u202e")
    assert "<b>.pdf" not in shown(admin_client, letter)


@pytest.mark.parametrize("jobs_limit", [1_000, 10**9])
def test_a_pdf_over_the_limit_is_told_so_in_the_words_of_letters(admin_client, settings, jobs_limit):
    """L16: the limit of letters, whatever that of jobs' files is, and before the form is read."""
    settings.LETTER_FILE_BYTES_LIMIT, settings.JOB_FILE_BYTES_LIMIT = 2_000_000, jobs_limit
    answer = admin_client.post(ADD, form(make_service(), data=bytes(2_200_000)))
    assert answer.status_code == 413
    assert answer.content.decode() == (
        "UPLOAD_TOO_LARGE: The PDF is larger than 2 MB, so no letter was made. Use smaller pictures and add it again."
    )
    assert admin_client.post(ADD, form(make_service(), data=bytes(1_900_000))).status_code == 302
    assert Letter.objects.get().notification.status_reason.startswith("PDF_NOT_PDF")


def test_who_may_only_look_uploads_nothing(client):
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_letter"))
    client.force_login(user)
    assert "Add precompiled letter" not in client.get(LIST).content.decode()
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, form(make_service())).status_code == 403
    assert Letter.objects.count() == 0


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def upload(tmp_path, woken):
    """Run the command with a file of this content; returns what it printed."""

    def run(service, *options, data=GOOD):
        path = tmp_path / "letter.pdf"
        path.write_bytes(data)
        out = io.StringIO()
        call_command("upload_letter", service, str(path), *options, stdout=out)
        return out.getvalue()

    return run


def refused(act, *arguments, **names):
    """Return the exit status and the one line."""
    with pytest.raises(CommandError) as caught:
        act(*arguments, **names)
    assert "\n" not in str(caught.value)
    return caught.value.returncode, str(caught.value)


def test_the_command_makes_a_letter_once(upload, woken):
    service, key = make_service(name="Housing"), str(new_id())
    options = ("--id", key, "--postage", "first", "--reference", "r", "--address-line", "A", "--address-line", "B")
    assert upload("Housing", *options) == f"Letter {key}: pending-virus-check.\n"
    assert upload(str(service.pk), *options).endswith("It was made before; nothing was added.\n")
    letter = Letter.objects.get()
    assert (letter.notification.recipient, letter.notification.client_reference) == ("A\nB", "r")
    assert (letter.postage, letter.original_file_name) == ("first", "letter.pdf")
    assert woken == ["letters.scan_letters"]


def test_the_command_says_what_is_wrong_with_which_status(upload, woken, tmp_path):
    make_service(name="Housing")
    status, text = refused(upload, "Housing", data=b"not a pdf")
    assert (status, "PDF_NOT_PDF" in text) == (command.FAILED, True)
    assert Letter.objects.count() == 1
    assert woken == ["callbacks.deliver_due_callbacks"]
    status, text = refused(upload, "Nobody")
    assert (status, "There is: Housing" in text) == (command.USAGE, True)
    status, text = refused(call_command, "upload_letter", "Housing", str(tmp_path / "gone.pdf"))
    assert (status, "cannot be read" in text) == (command.USAGE, True)
    assert refused(call_command, "upload_letter", "Housing", str(tmp_path))[0] == command.USAGE
    status, text = refused(upload, "Housing", "--reference", "r" * 256)
    assert (status, text.endswith("Nothing was stored.")) == (command.REFUSED, True)
    assert Letter.objects.count() == 1


def test_the_moment_is_now(upload):
    make_service(name="Housing")
    before = datetime.now(UTC)
    upload("Housing")
    assert before <= Letter.objects.get().notification.created_at <= datetime.now(UTC)
