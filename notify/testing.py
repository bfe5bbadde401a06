"""Rows for tests, valid without any argument; every field of the model can be set by keyword.

Test code: it builds rows of every app and imports them lazily, which nothing else may.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

from django.core.files.base import ContentFile
from django.utils import timezone

from notify import crypto
from notify.models import Notification, NotificationType, Service, Template

CONTENT = {
    NotificationType.SMS: "((name)), your appointment is on ((date)).",
    NotificationType.EMAIL: "Dear ((name)), your licence expires on ((date)).",
    NotificationType.LETTER: "Dear ((name)), please answer by ((date)).",
}
BACKENDS = {
    "mmg": ("providers.backends.mmg.MMG", NotificationType.SMS),
    "firetext": ("providers.backends.firetext.Firetext", NotificationType.SMS),
    "email": ("providers.backends.email.Email", NotificationType.EMAIL),
    "postal": ("providers.backends.postal.Postal", NotificationType.LETTER),
}
ADDRESS = ["Ms A Reader", "1 High Street", "Anytown", "AB1 2CD"]
_numbers = count(1)


def make_service(**fields: Any) -> Any:
    """Make a service that may send."""
    return Service.objects.create(**({"name": f"Service {next(_numbers)}"} | fields))


def make_template(service: Any = None, notification_type: str = "sms", **fields: Any) -> Any:
    """Make a template with the placeholders ((name)) and ((date))."""
    defaults = {
        "service": service or make_service(),
        "name": f"Template {next(_numbers)}",
        "notification_type": notification_type,
        "subject": "" if notification_type == "sms" else "For ((name))",
        "content": CONTENT[NotificationType(notification_type)],
        "postage": "second" if notification_type == "letter" else "",
    }
    template = Template(**(defaults | fields))
    template.save()
    return template


def make_provider(identifier: str = "mmg", **fields: Any) -> Any:
    """Make a provider: active, share 50, not held, without any change on record."""
    from providers.models import Provider

    backend, notification_type = BACKENDS.get(identifier, BACKENDS["mmg"])
    address = "smtp://127.0.0.1:9" if notification_type == "email" else f"http://127.0.0.1:9/{identifier}/"
    config = {
        "url": address, "api_key": "key", "receipt_user": "simulator",
        "receipt_passwords": ["simulator"],
    }  # fmt: skip
    defaults = {
        "identifier": identifier, "display_name": identifier.title(), "backend": backend,
        "notification_type": notification_type, "config": config, "updated_at": timezone.now() - timedelta(days=1),
    }  # fmt: skip
    return Provider.objects.create(**(defaults | fields))


def make_endpoint(service: Any = None, **fields: Any) -> Any:
    """Make an active endpoint."""
    from callbacks.models import Endpoint

    defaults = {
        "service": service or make_service(), "url": "https://example.org/callbacks", "bearer_token": "token-token",
        "signing_secrets": ["whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    }  # fmt: skip
    return Endpoint.objects.create(**(defaults | fields))


def make_job(rows: int | Sequence[Mapping[str, str]] = 3, **fields: Any) -> Any:
    """Make a job with its file in the job storage and no notification: SMS, finished an hour ago.

    rows: a number of good rows, or the rows themselves (column → value).
    """
    from jobs.models import Job

    template = fields.pop("template", None) or make_template(fields.get("service"))
    values = good_rows(rows, template.notification_type) if isinstance(rows, int) else list(rows)
    data = _csv(values)
    past = timezone.now() - timedelta(hours=1)
    status = fields.get("status", Job.Status.FINISHED)
    begun = status not in (Job.Status.SCHEDULED, Job.Status.PENDING)
    done = status in (Job.Status.FINISHED, Job.Status.COMPLETE)
    defaults = {
        "service": template.service, "template": template, "template_version": template.version,
        "original_file_name": "recipients.csv", "sha256": hashlib.sha256(data).hexdigest(),
        "notification_count": len(values), "status": status, "created_at": past, "progressed_at": past,
        "encoding": "utf-8-sig", "delimiter": ",",
        "processing_started": past if begun else None, "processing_finished": past if done else None,
    }  # fmt: skip
    job = Job(**(defaults | fields))
    if "file" not in fields:
        job.file.save("recipients.csv", ContentFile(data), save=False)
    job.save()
    return job


def good_rows(number: int, notification_type: str = "sms") -> list[dict[str, str]]:
    """Return rows that become messages; numbers and addresses are of the ranges kept for examples."""
    common = [{"name": f"Person {place}", "date": "1 May"} for place in range(number)]
    if notification_type == NotificationType.SMS:
        return [{"phone number": f"07700900{place % 1000:03d}", **row} for place, row in enumerate(common)]
    if notification_type == NotificationType.EMAIL:
        return [{"email address": f"person{place}@example.org", **row} for place, row in enumerate(common)]
    address = {f"address line {line}": text for line, text in enumerate(ADDRESS, start=1)}
    return [{**address, **row} for row in common]


def make_notification(job: Any = None, job_row_number: int | None = None, **fields: Any) -> Any:
    """Make a notification: an SMS in `created`, due at once, unless said otherwise. A job gives service and template.

    Without a row number the next free one of the job is taken.
    """
    template = fields.pop("template", None) or (job.template if job else make_template(
        fields.get("service"), fields.get("notification_type", "sms")
    ))  # fmt: skip
    if job is not None and job_row_number is None:
        job_row_number = job.notifications.count()
    kind = fields.get("notification_type", template.notification_type)
    created = fields.get("created_at") or timezone.now()
    waits = fields.get("status", "created") == "created" and kind != NotificationType.LETTER
    recipient = fields.get("recipient", {"sms": "+447700900123", "email": "person@example.org"}.get(
        kind, "\n".join(ADDRESS)
    ))  # fmt: skip
    defaults = {
        "service": template.service, "template": template, "template_version": template.version, "job": job,
        "job_row_number": job_row_number, "notification_type": kind, "recipient": recipient,
        "recipient_hash": crypto.search_hash(recipient), "personalisation": {"name": "Person", "date": "1 May"},
        "created_at": created, "due_at": created if waits else None,
    }  # fmt: skip
    return Notification.objects.create(**(defaults | fields))


def make_letter(**fields: Any) -> Any:
    """Make a templated letter with its notification: created, complete and ready to print. Takes the fields of both.

    The PDF lies in its storage unless pdf=None.
    """
    from letters import files
    from letters.models import Letter

    own = {field.name for field in Letter._meta.fields} - {"notification"}
    letter_fields = {name: fields.pop(name) for name in list(fields) if name in own}
    notification = fields.pop("notification", None) or make_notification(
        **({"notification_type": NotificationType.LETTER} | fields)
    )
    data = b"%PDF-1.7\n% a page\n%%EOF\n"
    pdf = letter_fields.pop("pdf", data)
    defaults = {"pages": 1, "postage": "second", "sha256": hashlib.sha256(data).hexdigest()} if pdf is not None else {}
    if pdf is None:
        defaults["due_at"] = notification.created_at
    letter = Letter(notification=notification, **(defaults | letter_fields))
    if isinstance(pdf, bytes):
        letter.sha256 = letter_fields.get("sha256", hashlib.sha256(pdf).hexdigest())
        letter.pdf.name = files.storage_of(letter).save(f"{notification.pk}.pdf", ContentFile(pdf))
    elif pdf:
        letter.pdf = pdf
    letter.save(force_insert=True)
    return letter


def _csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else ["phone number", "name", "date"])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
