"""What a sender sees before agreeing: counts, first messages, bad rows, repeated recipients, cost, the same file."""

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from jobs import uploads
from jobs.creation import read_file
from jobs.models import Job
from jobs.preview import checker_of, preview
from jobs.tests.test_admin import ADD, CONFIRM, add, agree, form, refused, storage, woken  # noqa: F401  (fixtures)
from notify.models import Notification
from notify.testing import make_service, make_template

pytestmark = pytest.mark.django_db
SAMPLES = Path(settings.BASE_DIR) / "samples"
APPOINTMENT = "((name)), your appointment is on ((date)) at ((place)). Ref ((reference))"


def appointments():
    return make_template(content=APPOINTMENT)


def look(data, template):
    return preview(read_file(io.BytesIO(data), template), checker_of(template))


def test_the_sample_is_counted_in_one_pass():
    found = look((SAMPLES / "appointments_sms.csv").read_bytes(), appointments())
    assert (found.rows, found.valid, found.invalid_count) == (5_008, 5_000, 8)
    assert [row for row, _ in found.invalid] == list(range(5_002, 5_010))
    assert found.messages[0] == (
        "+447700900000", 'pan Juliusz Niewola, your appointment is on 6 December 2026 at Clinic "B". Ref A000000'
    )  # fmt: skip
    assert len(found.messages) == 3
    assert found.parts >= found.valid


def test_repeated_recipients_are_met_however_they_are_written():
    rows = ["07700900001,a,1 May", "+44 7700 900001,b,1 May", "07700900002,c,1 May", "00447700900001,d,1 May"]
    found = look(("phone number,name,date\n" + "\n".join(rows)).encode(), make_template())
    assert (found.repeated_rows, found.repeated_recipients) == (3, 1)


@pytest.mark.parametrize(("length", "parts", "long"), [(160, 1, 0), (161, 2, 1), (306, 2, 1), (307, 3, 1)])
def test_cost_is_counted_in_parts(length, parts, long):
    template = make_template(content="((name))")
    found = look(f"phone number,name\n07700900001,{'x' * length}\n".encode(), template)
    assert (found.parts, found.long_messages, found.unicode_messages) == (parts, long, 0)


def test_characters_outside_the_sms_alphabet_are_said():
    found = look("phone number,name\n07700900001,Łukasz\n".encode(), make_template(content="((name))"))
    assert found.unicode_messages == 1


def test_an_email_reads_with_its_subject():
    template = make_template(notification_type="email", subject="For ((name))", content="Hello ((name))")
    found = look(b"email address,name\na@example.org,Jo\n", template)
    assert found.messages == [("a@example.org", "For Jo\n\nHello Jo")]


def test_the_page_shows_it_and_nothing_is_in_the_database(admin_client):
    data = (SAMPLES / "appointments_sms.csv").read_bytes()
    page = admin_client.post(ADD, form(appointments(), data=data)).content.decode()
    assert "5,008 rows" in page
    assert "8 rows that cannot be sent" in page
    assert "PHONE_TOO_SHORT" in page
    assert "pan Juliusz Niewola, your appointment" in page
    assert not Job.objects.exists()
    assert not Notification.objects.exists()


def test_bad_rows_need_consent_and_can_be_downloaded(admin_client, woken):  # noqa: F811
    shown = admin_client.post(ADD, form(make_template(), data=b"phone number,name,date\n07700900001,A,1\n=1+1,B,2\n"))
    answer = agree(admin_client, shown, accept_invalid="")
    assert "INVALID_ROWS" in answer.content.decode()
    assert not Job.objects.exists()
    download = admin_client.get(shown.context["invalid_url"])
    rows = list(csv.reader(io.StringIO(b"".join(download.streaming_content).decode("utf-8-sig"))))
    assert rows[0] == ["row", "recipient", "reason"]
    assert rows[1][:2] == ["3", "'=1+1"]
    assert agree(admin_client, shown).status_code == 302
    assert Job.objects.get().notification_count == 2


def test_a_file_without_any_good_row_makes_no_job(admin_client):
    shown = admin_client.post(ADD, form(make_template(), data=b"phone number,name,date\n12,A,1\n"))
    assert "NO_VALID_ROWS" in agree(admin_client, shown).content.decode()
    assert not Job.objects.exists()


def test_repeated_recipients_need_a_tick(admin_client, woken):  # noqa: F811
    rows = "".join("07700900001,A,1\n" for _ in range(500))
    shown = admin_client.post(ADD, form(make_template(), data=f"phone number,name,date\n{rows}".encode()))
    assert "500 rows are for 1 recipient." in shown.content.decode()
    assert "REPEATED_RECIPIENTS" in agree(admin_client, shown).content.decode()
    assert agree(admin_client, shown, accept_repeated="on").status_code == 302


def test_the_same_file_of_the_last_day_is_pointed_out(admin_client, woken):  # noqa: F811
    template = make_template()
    add(admin_client, form(template))
    again = form(template)
    assert "The same file was uploaded" in admin_client.post(ADD, again).content.decode()
    other = form(make_template(make_service()))
    assert "The same file was uploaded" not in admin_client.post(ADD, other).content.decode()
    Job.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert "The same file was uploaded" not in admin_client.post(ADD, again).content.decode()


def test_a_windows_export_is_refused_with_its_place_and_accepted_when_the_sender_says_what_it_is(
    admin_client, woken  # noqa: F811
):  # fmt: skip
    data = (SAMPLES / "windows_export.csv").read_bytes()
    answer = refused(admin_client, form(appointments(), data=data))
    assert "CSV_ENCODING" in answer.context["form"].errors["file"][0]
    assert "row" in answer.context["form"].errors["file"][0].lower()
    shown = admin_client.post("/admin/jobs/job/preview/", {"token": answer.context["as_windows_1252"]})
    assert "200 rows" in shown.content.decode()
    assert agree(admin_client, shown).status_code == 302
    job = Job.objects.get()
    assert (job.encoding, job.delimiter, job.notification_count) == ("cp1252", ";", 200)


def test_the_kept_file_goes_when_it_became_a_job_or_after_a_day(admin_client, storage, woken):  # noqa: F811
    add(admin_client, form(make_template()))
    assert not list((storage / "uploads").iterdir())
    admin_client.post(ADD, form(make_template()))
    [kept] = (storage / "uploads").iterdir()
    uploads._sweep(now=timezone.now() + timedelta(hours=23))
    assert kept.exists()
    uploads._sweep(now=timezone.now() + timedelta(hours=25))
    assert not kept.exists()


def test_a_token_of_another_person_or_made_up_opens_nothing(admin_client, client, woken):  # noqa: F811
    shown = admin_client.post(ADD, form(make_template()))
    token = shown.context["form"]["token"].value()
    client.force_login(User.objects.create_superuser("other", password="x"))
    for wrong in (token, "made:up", ""):
        answer = client.post(CONFIRM, {"token": wrong, "job_id": form(make_template())["job_id"]})
        assert answer.status_code == 302
        assert client.get("/admin/jobs/job/invalid-rows/", {"token": wrong}).status_code == 302
        assert client.post("/admin/jobs/job/preview/", {"token": wrong}).status_code == 302
    assert not Job.objects.exists()
