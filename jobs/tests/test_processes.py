"""A whole installation with real processes, on a database and broker of its own.

Uses the engines of DATABASE_URL and CELERY_BROKER_URL where they are set, else the embedded ones.
"""

import json
import time
from collections.abc import Iterator

import pytest

from jobs.tests.installation import ON_WIRE, ROWS, WAIT, Installation, own_database, tidy_broker
from notify.processes import listen

pytestmark = pytest.mark.processes

SET_UP = """
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from jobs.demo import prepare
prepare({simulator!r}, now=timezone.now())
often = IntervalSchedule.objects.create(every=2, period="seconds")
for task in PeriodicTask.objects.filter(crontab__minute="*"):
    task.crontab, task.interval, task.expire_seconds = None, often, 2
    task.save()
"""
CLAIM = """
from django.utils import timezone
from jobs.creation import create_job
from jobs.processing import claim_job
from notify.models import Template
template = Template.objects.get(notification_type="sms")
with open({file!r}, "rb") as stream:
    job = create_job(stream, service=template.service, template=template, file_name="x.csv", now=timezone.now())
assert claim_job(job.pk, now=timezone.now())
print(job.pk)
"""
PROCESS = """
import time
from django.utils import timezone
from jobs.models import Job
from jobs.processing import process_rows
job = Job.objects.select_related("service", "template").get(pk={job!r})
time.sleep(max(0, {begin} - time.time()))
process_rows(job, clock=timezone.now)
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running installation with the simulator, which takes 0.1 s to answer."""
    var = tmp_path_factory.mktemp("installation")
    with own_database(var) as database, tidy_broker(), listen(8300) as listener:
        made = Installation(var, database)
        with made.processes as processes:
            made.manage("manage.py", "migrate", "--verbosity", "0")
            web = f"http://127.0.0.1:{listener.getsockname()[1]}"
            simulator = processes.start_simulator(web, "--answer-delay", "0.1", "--receipt-delay", "0.2")
            processes.environment["CALLBACK_TRUSTED_TARGETS"] = simulator
            with made.shell(SET_UP.format(simulator=simulator)) as child:
                assert child.wait(WAIT) == 0, child.stderr.read()
            processes.start_web(listener)
            processes.start_workers()
            processes.start_beat()
            yield made


def test_a_file_goes_through_real_processes_until_every_row_is_delivered_and_told(installation):
    job, _ = installation.create_job()
    installation.wait_until_told(job)
    assert installation.taken(job) == [1] * ROWS
    assert installation.query("SELECT status FROM jobs_job WHERE id = %s", job) == [
        ("finished all notifications created",)
    ]


def test_two_processes_on_one_job_and_a_third_later_make_each_row_once(installation):
    with installation.shell(CLAIM.format(file=str(installation.file()))) as child:
        job, errors = child.communicate(timeout=WAIT)
        job = job.strip()
        assert child.returncode == 0, errors
    process = PROCESS.format(job=job, begin=time.time() + 3)
    with installation.shell(process) as one, installation.shell(process) as two:
        ended = [child.communicate(timeout=WAIT)[1] for child in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], ended
    numbers = "SELECT job_row_number, id FROM notify_notification WHERE job_id = %s ORDER BY 1"
    rows = installation.query(numbers, job)
    assert [number for number, _ in rows] == list(range(ROWS))
    installation.wait_until_told(job)
    with installation.shell(process) as third:
        assert third.wait(WAIT) == 0, third.stderr.read()
    installation.manage("-m", "celery", "-A", "notify", "call", "jobs.process_job", "--args", json.dumps([job]))
    installation.wait_until_told(installation.create_job(5)[0], 5)  # whatever that message did is done by now
    assert installation.query(numbers, job) == rows
    assert installation.taken(job) == [1] * ROWS


def test_a_job_whose_wake_up_was_not_sent_is_found_by_the_next_tick(installation):
    job, out = installation.create_job(5, CELERY_BROKER_URL="amqp://127.0.0.1:1/")
    assert "wake-up not sent" in out
    installation.wait_until_told(job, 5)


def test_create_job_that_waits_ends_when_the_job_is_complete(installation):
    job, out = installation.create_job(5, "--wait")
    assert out.splitlines()[-1] == f"Job {job} is “finished all notifications created”."
    installation.wait_until_told(job, 5)


def test_a_message_that_names_a_task_of_old_is_logged_once_and_dropped_and_the_worker_lives(installation):
    worker = installation.processes.members["general"]
    before = worker.pid
    installation.manage("-m", "celery", "-A", "notify", "call", "letters.trigger_letter_pdfs_for_day")

    def complaints() -> int:
        return worker.log.read_text().count("Received unregistered task of type 'letters.trigger_letter_pdfs_for_day'")

    installation.wait(complaints, lambda: "nothing in the log")
    installation.wait_until_told(installation.create_job(5)[0], 5)
    assert complaints() == 1
    assert (worker.pid, worker.status) == (before, None)


def test_a_worker_killed_while_sending_loses_no_row(installation):
    job, _ = installation.create_job()
    worker = installation.processes.members["general"]
    installation.wait(lambda: sum(installation.taken(job)) > ROWS // 4, lambda: str(installation.messages(job)))
    worker.kill()
    assert installation.messages(job)["created"] > 0, "killed too late to mean anything"
    worker.start()
    installation.wait_until_told(job)
    taken = installation.taken(job)
    assert min(taken) == 1
    assert sum(taken) - ROWS <= ON_WIRE
