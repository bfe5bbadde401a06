"""What a file would become, before anybody agrees to it: one pass over its rows, with the code that makes messages."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobs.recipients_file import FIRST_ROW, RecipientsFile
from jobs.rows import Checked, RowChecker
from notify.content import Compiled, compile_content
from notify.crypto import search_hash
from notify.models import NotificationType, Template, TemplateVersion
from notify.sms_text import is_gsm, sms_parts, sms_text

SHOWN = 3  # messages shown as they will read
INVALID_SHOWN = 20  # invalid rows listed on the page; all of them are in the download


@dataclass(slots=True)
class Preview:
    """What one pass found. invalid: (row as in the file, reason) of the first ones; parts: SMS parts in all."""

    rows: int = 0
    messages: list[tuple[str, str]] = field(default_factory=list)
    invalid_count: int = 0
    invalid: list[tuple[int, str]] = field(default_factory=list)
    repeated_rows: int = 0
    repeated_recipients: int = 0
    parts: int = 0
    long_messages: int = 0
    unicode_messages: int = 0

    @property
    def valid(self) -> int:
        """Rows that would be sent."""
        return self.rows - self.invalid_count


def checker_of(template: Template) -> RowChecker:
    """Return the checker for the newest version of a template."""
    words = TemplateVersion.objects.get(template=template, version=template.version)
    return RowChecker(words, template.notification_type, international=template.service.international_sms)


def preview(found: RecipientsFile, checker: RowChecker) -> Preview:
    """Go through a file once: memory grows with the number of different recipients only (16 bytes each, hashed)."""
    seen: Counter[bytes] = Counter()
    result, text = Preview(), checker.compiled
    for row in found.rows():
        checked = checker.check(row)
        result.rows += 1
        if checked.problem:
            result.invalid_count += 1
            if len(result.invalid) < INVALID_SHOWN:
                result.invalid.append((row.number + FIRST_ROW, checked.problem))
            continue
        seen[bytes.fromhex(search_hash(checked.recipient))] += 1
        if checker.notification_type == NotificationType.SMS:
            _count_parts(result, sms_text(text.render(checked.values)))
        if len(result.messages) < SHOWN:
            result.messages.append((checked.recipient, _reads(checker, text, checked)))
    more = [times for times in seen.values() if times > 1]
    result.repeated_rows, result.repeated_recipients = sum(more), len(more)
    return result


def invalid_rows(found: RecipientsFile, checker: RowChecker) -> Iterator[tuple[int, str, str]]:
    """Yield (row as in the file, recipient as written, reason) of every row that cannot be sent."""
    for row in found.rows():
        checked = checker.check(row)
        if checked.problem:
            yield row.number + FIRST_ROW, checked.recipient, checked.problem


def _count_parts(result: Preview, text: str) -> None:
    parts = sms_parts(text)
    result.parts += parts
    result.long_messages += parts > 1
    result.unicode_messages += not is_gsm(text)


def _reads(checker: RowChecker, text: Compiled, checked: Checked) -> str:
    """Return a message as it will read, an email's or letter's subject first."""
    body = text.render(checked.values)
    if checker.notification_type == NotificationType.SMS:
        return sms_text(body)
    return f"{compile_content(checker.subject).render(checked.values)}\n\n{body}"
