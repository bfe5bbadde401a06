"""Every notification of type letter gets its letter, in the transaction that made it."""

from datetime import datetime
from uuid import UUID

from django.db.models import OuterRef, Subquery

from letters.models import Letter
from notify.models import Notification, NotificationType, Template, TemplateVersion


def create_letters(job_id: UUID, *, now: datetime) -> int:
    """Give each letter of a job that can be printed its row, where it has none, due to be rendered.

    now: the moment (aware, UTC). Returns how many were made.
    """
    version = TemplateVersion.objects.filter(template=OuterRef("template"), version=OuterRef("template_version"))
    bare = Notification.objects.filter(
        job_id=job_id,
        notification_type=NotificationType.LETTER,
        status=Notification.Status.CREATED,
        letter__isnull=True,
    ).annotate(wanted=Subquery(version.values("postage")[:1]))
    made = [
        Letter(notification_id=pk, postage=postage or Template.Postage.SECOND, due_at=now)
        for pk, postage in bare.values_list("pk", "wanted")
    ]
    Letter.objects.bulk_create(made, ignore_conflicts=True, batch_size=1_000)
    return len(made)
