"""What a message says: its version of the template with its own values put in, once."""

from uuid import UUID

from notify import content
from notify.models import Notification, NotificationType, TemplateVersion
from notify.sms_text import sms_text


class Words:
    """Renders messages; each version of a template is read and compiled once."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[UUID, int], content.Compiled] = {}

    def body(self, notification: Notification) -> str:
        """Return the text to send; what a value contains is never evaluated again."""
        text = self._content(notification).render(notification.personalisation)
        return sms_text(text) if notification.notification_type == NotificationType.SMS else text

    def _content(self, notification: Notification) -> content.Compiled:
        key = (notification.template_id, notification.template_version)
        if key not in self._compiled:
            version = TemplateVersion.objects.get(template=key[0], version=key[1])
            self._compiled[key] = content.compile_content(version.content)
        return self._compiled[key]
