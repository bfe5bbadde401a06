"""What the overview says of jobs."""

from django.urls import reverse

from jobs.models import Job
from notify.panels import Fact


def run() -> list[Fact]:
    """Count the jobs that are being worked on or wait to be, and those that wait for their time."""
    facts = []
    for status, words in ((Job.Status.IN_PROGRESS, "in progress"), (Job.Status.SCHEDULED, "scheduled"),
                          (Job.Status.ERROR, "in error")):  # fmt: skip
        count = Job.objects.in_status(status).count()
        tone = "bad" if status == Job.Status.ERROR and count else "busy"
        label = f"{'job' if count == 1 else 'jobs'} {words}"
        address = reverse("admin:jobs_job_changelist", query={"status__exact": status.value})
        facts.append(Fact(count, label, address, tone, "jobs.view_job"))
    return facts
