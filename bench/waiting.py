"""Messages that wait to be sent, for the benchmarks of sending: real ones, from a job, put back between rounds."""

import io

from bench.ingest import file_of, process

_BACK = """
    UPDATE notify_notification SET status = 'created', due_at = now() - interval '1 second', claimed_at = NULL,
        attempts = 0, sent_at = NULL, first_attempt_at = NULL, provider_reference = '', updated_at = NULL
"""
_COPIES = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, notification_type, recipient,
        recipient_hash, personalisation, client_reference, status, status_reason, provider_name, provider_reference,
        attempts, unknown_outcomes, created_at, due_at)
    SELECT gen_random_uuid(), service_id, template_id, 1, 'sms', recipient, recipient_hash, personalisation, '',
        'created', '', '', '', 0, 0, now(), now() - interval '1 hour'
    FROM (SELECT * FROM notify_notification WHERE service_id = %s LIMIT 1) one, generate_series(1, %s)
"""


def make_waiting(rows: int) -> None:
    """Make this many messages of a new service that wait to be sent, as a job makes them."""
    from django.utils import timezone

    from jobs.creation import create_job
    from notify.testing import make_service, make_template

    service = make_service(sms_daily_limit=100_000_000)
    template = make_template(
        service, content="((name)), your appointment is on ((date)) at ((place)). Ref ((reference))"
    )
    job = create_job(io.BytesIO(file_of(rows)), service=service, template=template, file_name="a.csv",
                     now=timezone.now())  # fmt: skip
    process(str(job.pk))
    analyze()


def copy_waiting(service: object, rows: int) -> None:
    """Give a service this many more waiting messages, copies of one of its own: for queries that read no words."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_COPIES, [service.pk, rows])
    analyze()


def put_back() -> None:
    """Make every message wait again, as before a round; outside the time taken."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(_BACK)
    analyze()


def analyze() -> None:
    """Clear what updates left behind, so that each round begins alike."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE notify_notification")


def empty() -> None:
    """Remove every message."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE notify_notification CASCADE")
