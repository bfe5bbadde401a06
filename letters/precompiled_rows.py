"""The notification of a precompiled letter: the template it stands under, and its row."""

from datetime import datetime
from uuid import UUID, uuid5

from django.db import IntegrityError, transaction

from notify import crypto
from notify.bulk import cell
from notify.models import Notification, NotificationType, Service, Template

TEMPLATE_NAME = "Precompiled letter"
COLUMNS = (
    "id", "service_id", "template_id", "template_version", "notification_type", "recipient", "recipient_hash",
    "personalisation", "client_reference", "status", "status_reason", "provider_name", "provider_reference",
    "attempts", "unknown_outcomes", "due_at", "created_at", "updated_at",
)  # fmt: skip


def template_of(service: Service) -> Template:
    """Return the template that a service's precompiled letters stand under, made at first use.

    Every message has a template, from which it gets its name in lists and totals. This one has no words, because the
    words are in the PDFs; jobs are not offered it and refuse it. Its key follows from the service's, so there is
    one at most, whoever makes it first.
    """
    key = uuid5(service.pk, TEMPLATE_NAME)
    found = Template.objects.filter(pk=key).first()
    if found is not None:
        return found
    kind, postage = NotificationType.LETTER, Template.Postage.SECOND
    try:
        with transaction.atomic():
            Template(
                pk=key, service=service, name=TEMPLATE_NAME, notification_type=kind, content="", postage=postage
            ).save(force_insert=True)
    except IntegrityError:
        pass  # somebody else was first
    return Template.objects.get(pk=key)


def line(
    key: UUID, template: Template, *, status: str, reason: str, recipient: str, reference: str, now: datetime
) -> str:
    """Write the notification in COPY's text format, in the order of COLUMNS. now: when it is made (aware, UTC)."""
    sealed = [
        Notification._meta.get_field(name).seal(value, key)  # type: ignore[union-attr]
        for name, value in (("recipient", recipient), ("personalisation", {}))
    ]
    values = (
        key, template.service_id, template.pk, template.version, NotificationType.LETTER.value, sealed[0],
        crypto.search_hash(recipient) if recipient else "", sealed[1], reference, str(status), reason[:300], "", "",
        0, 0, None, now, None,
    )  # fmt: skip
    return "\t".join(map(cell, values)) + "\n"
