"""A service's switch in the admin: what waits while it is off, and the wake-up when it is on again."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from notify.admin_base import BoundedPaginator, NotifyAdmin, list_link
from notify.celery import app
from notify.models import Notification, NotificationType, Service

SENDING = "providers.send_due_notifications"  # of a floor above: by name


class ServiceSwitch(NotifyAdmin):
    """What belongs to `active` on a service's page."""

    readonly_fields = ("waiting",)

    @admin.display(description="waiting now")
    def waiting(self, service: Service) -> SafeString | str:
        """Count what is not sent yet, and lead to it and to the service's jobs."""
        if service._state.adding:
            return "–"
        mine = Notification.objects.filter(service=service)
        letters = mine.filter(status=Notification.Status.CREATED, notification_type=NotificationType.LETTER)
        counts = [(_count(mine.to_send()), "to be sent"), (_count(letters), "to be printed"),
                  (_count(mine.held_for_person()), "held for a person")]  # fmt: skip
        text = ", ".join(f"{count} {words}" for count, words in counts)
        created = {"service__id__exact": service.pk, "status__exact": Notification.Status.CREATED}
        parts = [
            list_link(text, "notify_notification", **created),
            list_link("its jobs", "jobs_job", service__id__exact=service.pk),
        ]
        return format_html_join(" · ", "{}", ((part,) for part in parts))

    def save_model(self, request: HttpRequest, obj: Service, form: Any, change: bool) -> None:
        """Store it; where the switch was moved say what that does, and wake the sending loop after commit."""
        super().save_model(request, obj, form, change)
        if not change or "active" not in form.changed_data:
            return
        waiting = _count(Notification.objects.filter(service=obj).to_send())
        if obj.active:
            app.tasks[SENDING].delay_on_commit()
            text = f"It is switched on: its waiting messages ({waiting}) go out now. Jobs that were cancelled stay so."
            self.message_user(request, text, messages.INFO)
        else:
            text = (
                f"It is switched off: no job of it goes on, and its waiting messages ({waiting}) are kept until it is "
                "switched on again. Those on the wire are finished. To stop them for good, cancel its jobs."
            )
            self.message_user(request, text, messages.WARNING)


def _count(rows: QuerySet) -> str:
    return BoundedPaginator(rows, 1).told
