"""How much a service may send on one local day, and what happens to a job that would pass it."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.models import Job
from jobs.processing import claim_job, left_today, process_rows
from notify.testing import make_job, make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def pending(rows=3, **fields):
    return make_job(rows, status=Job.Status.PENDING, **fields)


def run(job):
    """Claim and process a job. Returns its status afterwards."""
    claimed = claim_job(job.pk, now=NOW)
    if claimed:
        process_rows(claimed, clock=lambda: NOW)
    job.refresh_from_db()
    return job.status


@pytest.mark.parametrize(
    ("limit", "status"), [(6, "finished all"), (5, "finished all"), (4, "sending limits exceeded")]
)
def test_the_days_limit_may_be_reached_and_not_passed(limit, status):
    template = make_template(make_service(sms_daily_limit=limit))
    for fields in (
        {},
        {"status": "delivered"},
        {"status": "validation-failed"},
        {"created_at": NOW - timedelta(days=1)},
    ):
        make_notification(template=template, **({"created_at": NOW} | fields))
    make_notification(service=template.service, notification_type="email", created_at=NOW)
    make_notification(created_at=NOW)  # another service's
    job = pending(3, template=template)
    assert run(job).startswith(status)
    if limit == 4:
        assert job.status_reason == "3 rows, but only 2 more may be sent today."
        assert not job.notifications.exists()


def test_rows_that_exist_already_are_counted_once_against_the_limit():
    template = make_template(make_service(sms_daily_limit=3))
    job = pending(3, template=template)
    make_notification(job, 0, created_at=NOW)
    assert run(job) == "finished all notifications created"


def test_a_limit_lowered_below_what_was_sent_leaves_nothing():
    template = make_template(make_service(sms_daily_limit=0))
    make_notification(template=template, created_at=NOW)
    assert left_today(template.service, "sms", now=NOW) == -1
    job = pending(1, template=template)
    assert (run(job), job.status_reason) == ("sending limits exceeded", "1 rows, but only 0 more may be sent today.")


@pytest.mark.parametrize(
    ("midnight", "now"),
    [
        # London: the spring day begins in winter time, the autumn day in summer time.
        (datetime(2026, 3, 29, 0, tzinfo=UTC), datetime(2026, 3, 29, 22, 59, 59, tzinfo=UTC)),
        (datetime(2026, 3, 29, 23, tzinfo=UTC), datetime(2026, 3, 29, 23, tzinfo=UTC)),
        (datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 23, 59, 59, tzinfo=UTC)),
        (datetime(2026, 10, 26, 0, tzinfo=UTC), datetime(2026, 10, 26, 0, tzinfo=UTC)),
    ],
)
def test_the_day_of_the_limit_begins_at_local_midnight(midnight, now):
    template = make_template(make_service(sms_daily_limit=10))
    make_notification(template=template, created_at=midnight - SECOND)
    assert left_today(template.service, "sms", now=now) == 10
    make_notification(template=template, created_at=midnight)
    assert left_today(template.service, "sms", now=now) == 9
