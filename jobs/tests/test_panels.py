"""What the overview says of jobs."""

import pytest

from jobs import panels
from jobs.models import Job
from notify.testing import make_job


@pytest.mark.django_db
def test_the_overview_counts_jobs_by_what_a_person_asks_first(admin_client, settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "jobs": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }
    for status in (Job.Status.IN_PROGRESS, Job.Status.ERROR, Job.Status.ERROR, Job.Status.COMPLETE):
        make_job(status=status)
    found = [(fact.count, fact.label, fact.tone) for fact in panels.run()]
    assert found == [(1, "job in progress", "busy"), (0, "jobs scheduled", "busy"), (2, "jobs in error", "bad")]
    shown = admin_client.get("/admin/").content.decode()
    assert "<strong>1</strong> job in progress" in shown
    assert "<strong>2</strong> jobs in error" in shown
