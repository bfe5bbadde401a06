"""What must always hold of jobs."""

from datetime import datetime

from django.db import connection

_INCOMPLETE = """
    SELECT j.id, j.notification_count, count(n.id), coalesce(max(n.job_row_number), -1)
    FROM jobs_job j LEFT JOIN notify_notification n ON n.job_id = j.id
    WHERE j.status IN ('finished', 'finished all notifications created') AND NOT j.archived
    GROUP BY j.id
    HAVING count(n.id) <> j.notification_count OR coalesce(max(n.job_row_number), -1) >= j.notification_count
    ORDER BY j.id
"""
_DOUBLED = """
    SELECT job_id, job_row_number, count(*) FROM notify_notification WHERE job_id IS NOT NULL
    GROUP BY job_id, job_row_number HAVING count(*) > 1
"""


def run(*, now: datetime) -> list[str]:
    """Return a sentence for each job whose rows and notifications do not match."""
    with connection.cursor() as cursor:
        cursor.execute(_INCOMPLETE)
        broken = [
            f"Job {job}: {made:,} notifications for {wanted:,} rows (highest row number {top})."
            for job, wanted, made, top in cursor.fetchall()
        ]
        cursor.execute(_DOUBLED)
        broken += [f"Job {job}: row {row} has {times} notifications." for job, row, times in cursor.fetchall()]
    return broken
