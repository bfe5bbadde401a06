"""How far a job is."""

import pytest

from jobs.models import Job
from jobs.progress import progress_of
from notify.testing import make_job, make_notification

pytestmark = pytest.mark.django_db
Status = Job.Status


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files of jobs out of the installation's own folder."""
    settings.STORAGES = settings.STORAGES | {
        "jobs": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }


def test_progress_counts_rows_and_statuses_in_one_query_and_zero_when_there_are_none(django_assert_num_queries):
    job = make_job(rows=4, status=Status.IN_PROGRESS)
    assert progress_of(job).counts == {}
    for status in ("delivered", "created", "created"):
        make_notification(job, status=status)
    with django_assert_num_queries(1):
        progress = progress_of(job)
    assert progress.counts == {"created": 2, "delivered": 1}
    assert (progress.created, progress.missing, progress.on_their_way, progress.waiting) == (3, 1, 2, 2)


def test_progress_is_done_only_when_job_and_messages_are():
    looks = {
        "all delivered": (Status.COMPLETE, "delivered"),
        "job not counted yet": (Status.FINISHED, "delivered"),
        "a message on its way": (Status.COMPLETE, "sending"),
        "cancelled": (Status.CANCELLED, "cancelled"),
    }
    done = []
    for label, (job_status, status) in looks.items():
        job = make_job(rows=1, status=job_status)
        make_notification(job, status=status)
        if progress_of(job).done:
            done.append(label)
    assert done == ["all delivered", "cancelled"]
