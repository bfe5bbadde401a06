"""`manage.py create_job`: what it makes, what it refuses, and with which exit status."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from jobs.models import Job
from notify.clock import zone
from notify.processes import ROOT
from notify.testing import make_service, make_template

HEADER = "phone number,name,date\n"
GOOD = "07700900001,Ada,1 May\n"
BAD = "12,Ada,1 May\n"


@pytest.fixture
def template(db):
    return make_template(name="Appointment")


@pytest.fixture
def create(template, tmp_path):
    """Run the command with a file of this content; returns what it printed."""

    def run(content=HEADER + GOOD, *options, **names):
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        out = io.StringIO()
        given = {"service": template.service.name, "template": "Appointment"} | names
        named = [part for name, value in given.items() for part in (f"--{name}", value)]
        call_command("create_job", *named, str(path), *options, stdout=out)
        return out.getvalue()

    return run


def refused(create, *arguments, **names):
    """The exit status and the one line of a refusal that stored nothing."""
    with pytest.raises(CommandError) as caught:
        create(*arguments, **names)
    assert not Job.objects.exists()
    assert "\n" not in str(caught.value)
    return caught.value.returncode, str(caught.value)


def woken(job, settings):
    """How often the embedded broker holds a wake-up for this job."""
    messages = (settings.VAR_DIR / "broker" / "messages").glob("*.jobs.msg")
    return sum(str(job.pk) in message.read_text() for message in messages)


def stored_files(settings):
    return {path for path in (settings.VAR_DIR / "jobs").rglob("*") if path.is_file()}


def test_create_job_makes_a_pending_job_and_wakes_a_worker(create, template, settings):
    out = create(HEADER + GOOD * 3)
    job = Job.objects.get()
    assert (job.status, job.notification_count, job.template) == (Job.Status.PENDING, 3, template)
    assert job.original_file_name == "people.csv"
    assert out == f"Job {job.pk}: 3 rows.\n"
    assert not settings.EMBEDDED_BROKER or woken(job, settings) == 1


def test_service_and_template_are_found_by_id_too(create, template):
    create(service=str(template.service.pk), template=str(template.pk))
    assert Job.objects.get().template == template


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"service": "Nobody"}, "There is no service 'Nobody'. There is: "),
        ({"template": "Nothing"}, "There is no template 'Nothing'. There is: Appointment."),
        ({"template": "018f3c1e-0000-7000-8000-000000000000"}, "There is no template"),
    ],
)
def test_names_that_do_not_exist_are_usage_errors_that_name_what_does(create, names, words):
    status, line = refused(create, **names)
    assert status == 2
    assert words in line


def test_a_template_of_another_service_is_not_found(create):
    make_template(name="Theirs", service=make_service(name="Others"))
    assert refused(create, template="Theirs")[0] == 2


def test_a_name_that_several_templates_have_asks_for_an_id(create, template):
    make_template(name="Appointment", service=template.service)
    status, line = refused(create)
    assert status == 2
    assert "give an id" in line


def test_a_file_that_is_not_there_is_a_usage_error(template, tmp_path):
    names = ["--service", template.service.name, "--template", template.name]
    with pytest.raises(CommandError, match="cannot be read") as caught:
        call_command("create_job", *names, str(tmp_path / "none.csv"))
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("content", "code"),
    [("", "CSV_EMPTY"), (HEADER, "CSV_NO_ROWS"), ("phone number\n07700900001\n", "CSV_MISSING_COLUMN")],
)
def test_a_file_that_is_refused_whole_is_exit_status_3_with_its_code(create, content, code):
    status, line = refused(create, content)
    assert status == 3
    assert line.startswith(code)


def test_a_service_that_is_switched_off_is_refused(create, template):
    template.service.active = False
    template.service.save()
    status, line = refused(create)
    assert (status, line.partition(":")[0]) == (3, "SERVICE_INACTIVE")


@pytest.mark.parametrize(("bad", "more"), [(1, ""), (10, ""), (11, "; and 1 more")])
def test_bad_rows_are_refused_with_their_count_and_the_first_ten(create, bad, more):
    status, line = refused(create, HEADER + GOOD + BAD * bad)
    assert status == 3
    assert line.startswith("INVALID_ROWS: 1 row cannot" if bad == 1 else f"INVALID_ROWS: {bad} rows cannot")
    shown = re.findall(r"row (\d+) PHONE_TOO_SHORT", line)
    assert shown == [str(row) for row in range(3, 3 + min(bad, 10))]
    assert (more or "PHONE_TOO_SHORT.") in line


def test_bad_rows_that_are_accepted_keep_their_place(create):
    out = create(HEADER + GOOD + BAD, "--accept-invalid-rows")
    assert Job.objects.get().notification_count == 2
    assert "2 rows, 1 of them not sendable" in out


def test_a_dry_run_gives_the_same_verdict_and_stores_nothing(create, template, settings):
    assert "would be accepted: 1 row." in create(HEADER + GOOD, "--dry-run")
    assert not Job.objects.exists()
    assert not any(str(template.service_id) in str(path) for path in stored_files(settings))
    assert refused(create, HEADER + BAD, "--dry-run")[0] == 3


def test_windows_1252_is_read_only_when_it_is_named(create):
    content = (HEADER + "07700900001,Zoë,1 May\n").encode("cp1252")
    status, line = refused(create, content)
    assert (status, line.partition(":")[0]) == (3, "CSV_ENCODING")
    create(content, "--encoding", "cp1252")
    assert Job.objects.get().encoding == "cp1252"


@pytest.mark.time_machine("2026-10-24T12:00:00Z", tick=False)
def test_a_scheduled_job_is_stored_in_utc_shown_in_local_time_and_not_woken(create, settings):
    out = create(HEADER + GOOD, "--schedule", "2026-10-25T09:30")
    job = Job.objects.get()
    assert job.status == Job.Status.SCHEDULED
    assert job.scheduled_for.isoformat() == "2026-10-25T09:30:00+00:00"
    assert "25 Oct 2026 at 09:30 GMT" in out
    assert woken(job, settings) == 0


@pytest.mark.time_machine("2026-10-24T12:00:00Z", tick=False)
def test_an_hour_that_comes_twice_means_its_first_and_says_so(create):
    out = create(HEADER + GOOD, "--schedule", "2026-10-25T01:30")
    assert Job.objects.get().scheduled_for.astimezone(zone()).fold == 0
    assert "01:30 BST (the first of two" in out


@pytest.mark.time_machine("2026-03-28T12:00:00Z", tick=False)
@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("2026-03-29T01:30", 2, "SCHEDULE_NO_SUCH_TIME"),
        ("tomorrow", 2, "SCHEDULE_UNREADABLE"),
        ("2026-02-30T09:00", 2, "SCHEDULE_UNREADABLE"),
        ("2026-03-28T11:59", 3, "SCHEDULE_PAST"),
        ("2026-04-04T13:01", 3, "SCHEDULE_TOO_FAR"),
    ],
)
def test_times_that_cannot_be_are_refused(create, text, status, code):
    found, line = refused(create, HEADER + GOOD, "--schedule", text)
    assert (found, line.partition(":")[0]) == (status, code)


@pytest.mark.parametrize("other", [["--dry-run"], ["--schedule", "2026-10-25T09:30"]])
def test_waiting_for_what_does_not_begin_is_a_usage_error(create, other):
    assert refused(create, HEADER + GOOD, "--wait", *other)[0] == 2


@contextmanager
def meanwhile(act):
    """Do something to the job as soon as it is there, in a thread with a connection of its own."""

    def run():
        try:
            while not (job := Job.objects.first()):
                time.sleep(0.02)
            act(job)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def cancel(job):
    Job.objects.filter(pk=job.pk).update(status=Job.Status.CANCELLED, status_reason="The service is switched off.")


def press_ctrl_c(job):
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_waited_for_and_goes_wrong_is_exit_status_1_with_the_reason(create):
    with pytest.raises(CommandError, match="“cancelled”: The service is switched off") as caught, meanwhile(cancel):
        create(HEADER + GOOD, "--wait")
    assert caught.value.returncode == 1


@pytest.mark.django_db(transaction=True)
def test_ctrl_c_ends_the_waiting_and_not_the_job_and_says_how_it_goes_on(create, capfd):
    with pytest.raises(SystemExit) as caught, meanwhile(press_ctrl_c):
        create(HEADER + GOOD, "--wait")
    assert caught.value.code == 130
    assert Job.objects.get().status == Job.Status.PENDING
    assert "goes on by itself" in capfd.readouterr().err


def test_usage_errors_of_the_command_line_are_exit_status_2():
    done = subprocess.run(
        [sys.executable, "manage.py", "create_job", "--service", "x"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
