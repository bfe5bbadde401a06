"""A job's report: what became of every row, streamed in constant memory."""

from collections.abc import Iterator

from jobs.models import Job
from jobs.recipients_file import FIRST_ROW
from notify.export import stream
from notify.models import Notification

HEADER = ("row", "recipient", "status", "reason", "created at", "sent at", "delivered at", "notification id")
CHUNK = 2_000  # rows in memory


def lines(job: Job) -> Iterator[str]:
    """Yield the report as CSV lines, in the order of the file; `row` counts as in the file, whose header is row 1.

    A row without a notification (still to come, or missing) is named too: nothing is left out silently.
    """
    return stream(HEADER, _rows(job))


def file_name(job: Job) -> str:
    """Return a name for the download that says which job it is."""
    return f"report-{job.pk}.csv"


def _rows(job: Job) -> Iterator[tuple]:
    made = Notification.objects.filter(job=job).order_by("job_row_number").defer("personalisation")
    expected = 0
    for message in made.iterator(chunk_size=CHUNK):
        yield from _without_message(expected, message.job_row_number)
        expected = message.job_row_number + 1
        yield (
            message.job_row_number + FIRST_ROW,
            message.recipient,
            message.status,
            message.status_reason,
            message.created_at,
            message.sent_at,
            message.delivered_at,
            message.pk,
        )
    yield from _without_message(expected, job.notification_count)


def _without_message(start: int, end: int) -> Iterator[tuple]:
    for number in range(start, end):
        yield number + FIRST_ROW, "", "", "no message", None, None, None, ""
