"""An uploaded file becomes a job, or is refused with nothing stored."""

import hashlib
import io
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from jobs.creation import JobRefused, create_job, shown_name
from jobs.models import Job, job_storage
from jobs.recipients_file import FileProblem
from notify.models import Notification
from notify.testing import make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)  # the clocks went forward this morning
WEEK, SECOND = timedelta(days=7), timedelta(seconds=1)
GOOD = "phone number,name,date\n07700900001,Ann,1 May\n07700900002,Bo,2 May\n"


def create(data=GOOD, *, template=None, **fields):
    template = template or make_template()
    stream = io.BytesIO(data if isinstance(data, bytes) else data.encode())
    defaults = {"service": template.service, "file_name": "people.csv", "now": NOW}
    return create_job(stream, template=template, **(defaults | fields))


def stored_files(service):
    try:
        return job_storage().listdir(str(service.pk))[1]
    except FileNotFoundError:
        return []


def refused(data=GOOD, **fields):
    """Try to make a job. Returns the code of the refusal, having seen that nothing is stored."""
    template = fields.pop("template", None) or make_template()
    with pytest.raises((JobRefused, FileProblem)) as caught:
        create(data, template=template, **fields)
    assert not Job.objects.exists()
    assert stored_files(template.service) == []
    return caught.value.code


def test_a_job_is_pending_with_its_file_stored_under_its_own_key():
    job = create()
    assert (job.status, job.notification_count, job.original_file_name) == ("pending", 2, "people.csv")
    assert (job.created_at, job.progressed_at, job.scheduled_for, job.processing_started) == (NOW, NOW, None, None)
    assert job.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    stored = Job.objects.get()
    assert stored.file.name == f"{job.service_id}/{job.pk}.csv"
    assert stored.file.read() == GOOD.encode()
    stored.file.close()
    assert not Notification.objects.exists()


def test_the_version_of_the_template_is_fixed_when_the_job_is_made():
    template = make_template()
    template.content = "Hi ((name)) on ((date))"
    template.save()
    job = create(template=template)
    template.content = "Bye ((name)) on ((date))"
    template.save()
    assert (Job.objects.get().template_version, template.version, job.template_version) == (2, 3, 2)


def test_how_the_file_is_written_is_kept_for_the_next_reading():
    data = "Phone Number;NAME;Date\r\n07700900001;Zoë;1 März".encode("cp1252")
    job = create(data, encoding="cp1252")
    assert (job.encoding, job.delimiter, job.notification_count) == ("cp1252", ";", 1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "CSV_EMPTY"),
        ("phone number,name,date\n", "CSV_NO_ROWS"),
        ("phone number,name,date\n\n  ,,\n", "CSV_NO_ROWS"),
        ("phone number,name\n07700900001,Ann\n", "CSV_MISSING_COLUMN"),
        ("phone number,name,date,Name\n07700900001,Ann,1 May,Ann\n", "CSV_DUPLICATE_COLUMN"),
        ("name,date\nAnn,1 May\n", "CSV_NO_RECIPIENT_COLUMN"),
        ("phone number,name,date\n07700900001,Zo\xeb,1 May\n".encode("latin-1"), "CSV_ENCODING"),
        ("phone number,name,date\n07700900001,A\0n,1 May\n", "CSV_CONTROL_CHAR"),
        ('phone number,name,date\n07700900001,"Ann,1 May\n', "CSV_QUOTE"),
        ('phone number,name,date\n07700900001,"Ann"a,1 May\n', "CSV_QUOTE"),
        ("phone number,name,date\n07700900001," + "x" * 8_001 + ",1 May\n", "CSV_CELL_TOO_LONG"),
        ("phone number,name,date,\n07700900001,Ann,1 May,extra\n", "CSV_UNNAMED_COLUMN"),
        ("phone number|name|date\n07700900001|Ann|1 May\n", "CSV_DELIMITER"),
        (b"PK\x03\x04 and so on", "UPLOAD_COMPRESSED"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_nothing_stored(data, code):
    assert refused(data) == code


def test_a_refusal_is_logged_by_size_and_hash_without_name_or_content(caplog):
    caplog.set_level("INFO")
    data = "phone number,name,date\n07700900001,Secretname"
    refused(data + ",1 May,\0\n", file_name="Secretfile.csv")
    assert hashlib.sha256((data + ",1 May,\0\n").encode()).hexdigest() in caplog.text
    assert "Secret" not in caplog.text
    assert "07700900001" not in caplog.text


@pytest.mark.parametrize(("limit", "fits"), [(1, False), (2, True), (3, True)], ids=["over", "at", "under"])
def test_a_file_may_have_as_many_rows_as_the_limit(settings, limit, fits):
    settings.JOB_ROWS_LIMIT = limit
    assert (create().notification_count == 2) if fits else (refused() == "CSV_TOO_MANY_ROWS")


@pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True), (1, True)], ids=["over", "at", "under"])
def test_a_file_may_have_as_many_bytes_as_the_limit(settings, spare, fits):
    settings.JOB_FILE_BYTES_LIMIT = len(GOOD) + spare
    assert (create().notification_count == 2) if fits else (refused() == "UPLOAD_TOO_LARGE")


@pytest.mark.parametrize(("limit", "fits"), [(2, False), (3, True), (4, True)], ids=["over", "at", "under"])
def test_the_days_limit_may_be_reached_and_not_passed(limit, fits):
    template = make_template(make_service(sms_daily_limit=limit))
    make_notification(template=template, created_at=NOW)
    assert (create(template=template).status == "pending") if fits else (refused(template=template) == "DAILY_LIMIT")


def test_a_scheduled_job_is_judged_by_the_limit_of_its_own_day():
    template = make_template(make_service(sms_daily_limit=1))
    assert create(template=template, scheduled_for=NOW + SECOND).status == "scheduled"


@pytest.mark.parametrize(
    ("scheduled_for", "code"),
    [
        (NOW - timedelta(days=400), "SCHEDULE_PAST"),
        (NOW - SECOND, "SCHEDULE_PAST"),
        (NOW, None),
        (NOW + SECOND, None),
        (NOW + WEEK - SECOND, None),
        (NOW + WEEK, None),
        (NOW + WEEK + SECOND, "SCHEDULE_TOO_FAR"),
    ],
)
def test_a_job_is_scheduled_for_now_or_up_to_seven_days_ahead(scheduled_for, code):
    if code:
        assert refused(scheduled_for=scheduled_for) == code
    else:
        job = create(scheduled_for=scheduled_for)
        assert (job.status, job.scheduled_for) == ("scheduled", scheduled_for)


def test_an_inactive_service_and_anothers_template_are_refused():
    assert refused(template=make_template(make_service(active=False))) == "SERVICE_INACTIVE"
    assert refused(service=make_service()) == "TEMPLATE_OF_OTHER_SERVICE"


def test_submitting_the_form_twice_makes_one_job():
    template, key = make_template(), uuid.uuid4()
    first, second = (create(template=template, job_id=key) for _ in range(2))
    assert first.pk == second.pk == key
    assert (Job.objects.count(), stored_files(template.service)) == (1, [f"{key}.csv"])


@pytest.mark.django_db(transaction=True)
def test_submitting_the_form_twice_at_once_makes_one_job_with_one_file():
    template, key, made = make_template(), uuid.uuid4(), []
    together = threading.Barrier(2)

    class Stream(io.BytesIO):
        """Waits for the other at the end of the first reading, so that both have looked for the job before."""

        def fileno(self):
            raise io.UnsupportedOperation

        def seek(self, *where):
            if where == (0, 2) and not self.__dict__.setdefault("met", False):
                self.met = True
                together.wait(10)
            return super().seek(*where)

    def submit():
        try:
            job = create_job(
                Stream(GOOD.encode()),
                service=template.service,
                template=template,
                file_name="a.csv",
                now=NOW,
                job_id=key,
            )
            made.append(job.pk)
        finally:
            connection.close()

    submitters = [threading.Thread(target=submit) for _ in range(2)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join(20)
    assert made == [key, key]
    assert (Job.objects.count(), len(stored_files(template.service))) == (1, 1)
    with Job.objects.get().file.open("rb") as file:
        assert file.read() == GOOD.encode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/x.csv", "x.csv"),
        (r"C:\Users\me\list.csv", "list.csv"),
        ("a" * 300, "a" * 255),
        ("a\0b\nc\r\td.csv", "abcd.csv"),
        ("list\u202evsc.exe", "listvsc.exe"),
        ("CON", "CON"),
        ("", "recipients.csv"),
        ("   ", "recipients.csv"),
        ("dir/", "recipients.csv"),
        ("caf\udce9.csv", "caf.csv"),
        ("Gäste – März.csv", "Gäste – März.csv"),
    ],
)
def test_a_file_name_is_shown_cleaned_and_never_used_as_a_path(name, shown):
    assert shown_name(name) == shown
    job = create(file_name=name)
    job.refresh_from_db()
    assert (job.original_file_name, job.file.name) == (shown, f"{job.service_id}/{job.pk}.csv")


def test_a_job_that_cannot_be_written_leaves_no_file():
    template = make_template()
    with pytest.raises(ValueError, match="unsaved"):
        create(template=template, created_by=get_user_model()(username="not saved"))
    assert (stored_files(template.service), Job.objects.count()) == ([], 0)
