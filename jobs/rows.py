"""The one function that makes the notification of row n of a job: first run, resume and repair all use it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django.conf import settings

from callbacks import outcomes
from jobs.models import Job
from jobs.recipients_file import Row
from letters.letter_content import check_letter
from notify import content, crypto, recipients
from notify.bulk import cell
from notify.fields import new_id
from notify.models import Notification, NotificationType, Template, TemplateVersion
from notify.sms_text import sms_text

if TYPE_CHECKING:
    from notify.fields import SealedField

COLUMNS = (  # as RowWriter._line writes them
    "id", "service_id", "template_id", "template_version", "job_id", "job_row_number", "notification_type",
    "recipient", "recipient_hash", "personalisation", "client_reference", "status", "status_reason", "provider_name",
    "provider_reference", "attempts", "unknown_outcomes", "due_at", "created_at", "updated_at",
)  # fmt: skip


# In plain text: a member's value is looked up anew at every use, and this is used for every row.
_CREATED, _VALIDATION_FAILED = Notification.Status.CREATED.value, Notification.Status.VALIDATION_FAILED.value


class Checked(NamedTuple):
    """A row held against its template: what would be sent, or why nothing can be."""

    recipient: str
    values: dict[str, str]
    problem: str = ""


class RowChecker:
    """Holds rows against one version of a template; the preview of an upload and the processing share it."""

    def __init__(self, version: TemplateVersion, notification_type: str, *, international: bool) -> None:
        self.notification_type = notification_type
        self.international = international
        self.placeholders = content.placeholders(version.subject, version.content)
        self.keys = [content.column_key(name) for name in self.placeholders]
        self.required = content.required(version.subject, version.content)
        self.region, self.sms_limit = settings.PHONE_REGION, settings.SMS_CHARACTER_LIMIT
        self.recipient_keys = [content.column_key(name) for name in recipients.recipient_columns(notification_type)]
        self.compiled, self.subject = content.compile_content(version.content), version.subject

    def check(self, row: Row) -> Checked:
        """Return the row's recipient in its stored form and its values, or the reason nothing can be sent."""
        values = {key: row.values.get(key, "") for key in self.keys}
        try:
            if row.problem is not None:
                return Checked(self._written(row), values, str(row.problem))
            recipient = recipients.validate_recipient(
                self.notification_type, row.values, international=self.international, region=self.region
            )
            missing = content.missing(self.required, values)
            if missing:
                return Checked(recipient, values, f"VALUE_MISSING: There is no value for {missing[0]}.")
            self._check_text(recipient, values)
        except (recipients.InvalidRecipient, content.ContentProblem) as problem:
            return Checked(self._written(row), values, str(problem))
        return Checked(recipient, values)

    def _written(self, row: Row) -> str:
        """Return the recipient as it stands in the file, for a row that cannot be sent."""
        return "\n".join(filter(None, (row.values.get(key, "") for key in self.recipient_keys)))

    def _check_text(self, recipient: str, values: dict[str, str]) -> None:
        text = self.compiled.render(values)
        if self.notification_type == NotificationType.SMS:
            content.check_length(sms_text(text), self.sms_limit)
        elif self.notification_type == NotificationType.EMAIL:
            content.check_length(text, settings.EMAIL_CHARACTER_LIMIT)
        else:
            check_letter(address=recipient, text=text)


class RowWriter:
    """Makes the notifications of rows; a job's row that has one already is left alone by a unique constraint.

    job_id: None for a message that belongs to no job.
    """

    def __init__(self, template: Template, version: int, *, job_id: UUID | None) -> None:
        self.type, self.job_id = template.notification_type, job_id
        words = TemplateVersion.objects.get(template=template, version=version)
        self.checker = RowChecker(words, self.type, international=template.service.international_sms)
        self._recipient: SealedField = Notification._meta.get_field("recipient")  # type: ignore[assignment]
        self._personalisation: SealedField = Notification._meta.get_field("personalisation")  # type: ignore[assignment]
        self._start = "\t".join(cell(value) for value in (template.service_id, template.pk, version, job_id))
        self.is_sent = self.type in Notification.SENT_BY_LOOP

    @classmethod
    def of(cls, job: Job) -> "RowWriter":
        """Return the writer for a job's rows, with the template's version the job was made with."""
        return cls(job.template, job.template_version, job_id=job.pk)

    def lines(self, rows: Iterable[Row], *, now: datetime) -> tuple[list[str], list[UUID]]:
        """Return the rows in COPY's text format, and the keys of those born final."""
        moment = now.isoformat()
        final: list[UUID] = []
        made = [self._line(row, moment, final) for row in rows]
        return made, final

    def write(self, lines: Sequence[str], born_final: Sequence[UUID], *, now: datetime) -> int:
        """Insert the lines that are new, with the callbacks of those born final. Returns how many were new."""
        return outcomes.settle_new(COLUMNS, lines, born_final=born_final, now=now)

    def _line(self, row: Row, moment: str, final: list[UUID]) -> str:
        checked, key = self.checker.check(row), new_id()
        status, reason, due = _CREATED, "", moment if self.is_sent else "\\N"
        if checked.problem:
            status, reason, due = _VALIDATION_FAILED, cell(checked.problem[:300]), "\\N"
            final.append(key)
        recipient = cell(self._recipient.seal(checked.recipient, key))
        values = cell(self._personalisation.seal(checked.values, key))
        number = str(row.number) if self.job_id else "\\N"
        return (
            f"{key}\t{self._start}\t{number}\t{self.type}\t{recipient}\t{crypto.search_hash(checked.recipient)}\t"
            f"{values}\t\t{status}\t{reason}\t\t\t0\t0\t{due}\t{moment}\t\\N\n"
        )
