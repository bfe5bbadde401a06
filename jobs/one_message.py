"""One message from a template, without a job: to see on one's own phone or screen what recipients will get."""

from collections.abc import Mapping
from datetime import datetime

from jobs.creation import JobRefused
from jobs.processing import left_today
from jobs.recipients_file import Row
from jobs.rows import RowWriter
from notify.content import RECIPIENT_COLUMNS, column_key
from notify.models import NotificationType, Template


def send_one(template: Template, *, recipient: str, values: Mapping[str, str], now: datetime) -> str:
    """Make one message that is due at once. The caller nudges `providers.send_due_notifications` after commit.

    recipient: a phone number or an email address, as in a file. values: placeholder → text.
    Returns the recipient in its stored form. Raises JobRefused with nothing stored: for a letter, an inactive
    service, a day's limit that is reached, an invalid recipient or a missing value.
    """
    kind = NotificationType(template.notification_type)
    if kind == NotificationType.LETTER:
        raise JobRefused("LETTER", "A letter is not sent as a test; look at its preview instead.")
    if not template.service.active:
        raise JobRefused("SERVICE_INACTIVE", f"{template.service} is switched off; switch it on before sending.")
    if left_today(template.service, kind, now=now) < 1:
        raise JobRefused("DAILY_LIMIT", f"{template.service} may send no more messages of this type today.")
    cells = {column_key(name): text for name, text in values.items()}
    row = Row(0, cells | {column_key(RECIPIENT_COLUMNS[kind][0]): recipient}, None)
    writer = RowWriter(template, template.version, job_id=None)
    checked = writer.checker.check(row)
    if checked.problem:
        code, _, text = checked.problem.partition(": ")
        raise JobRefused(code, text)
    writer.write(*writer.lines([row], now=now), now=now)
    return checked.recipient
