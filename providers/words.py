"""What a message says: its version of the template with its own values put in, once."""

import re
from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from django.utils.html import escape

from notify import content
from notify.models import NotificationType, TemplateVersion
from notify.sms_text import sms_text

LINK = re.compile(r"https?://[^\s<>\"'“”‘’]*[^\s<>\"'“”‘’.,;:!?)\]}]", re.IGNORECASE)


class Worded(Protocol):
    """What a message's words are made from: a notification, or a claimed row of its own (claiming.py)."""

    @property
    def template_id(self) -> UUID | str:
        """The template."""

    @property
    def template_version(self) -> int:
        """Its version."""

    @property
    def notification_type(self) -> str:
        """The channel."""

    @property
    def personalisation(self) -> Mapping[str, str]:
        """The values, in plain."""


class Words:
    """Renders messages; each version of a template is read and compiled once."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[UUID | str, int], tuple[content.Compiled, content.Compiled]] = {}

    def body(self, notification: Worded) -> str:
        """Return the text to send; what a value contains is never evaluated again."""
        text = self.compiled(notification)[1].render(notification.personalisation)
        return sms_text(text) if notification.notification_type == NotificationType.SMS else text

    def subject(self, notification: Worded) -> str:
        """Return the subject, in one line whatever its values hold; empty for SMS."""
        return " ".join(self.compiled(notification)[0].render(notification.personalisation).split())

    def compiled(self, notification: Worded) -> tuple[content.Compiled, content.Compiled]:
        """Return subject and content, ready to be filled."""
        key = (notification.template_id, notification.template_version)
        if key not in self._compiled:
            version = TemplateVersion.objects.get(template=key[0], version=key[1])
            self._compiled[key] = (content.compile_content(version.subject), content.compile_content(version.content))
        return self._compiled[key]


def html(text: str) -> str:
    """Write an email's text as HTML: everything in it is data, and only http and https addresses become links."""
    pieces, end = [], 0
    for link in LINK.finditer(text):
        address = escape(link[0])
        pieces += [escape(text[end : link.start()]), f'<a href="{address}">{address}</a>']
        end = link.end()
    whole = "".join([*pieces, escape(text[end:])])
    paragraphs = [part.strip("\n").replace("\n", "<br>\n") for part in re.split(r"\n{2,}", content.line_breaks(whole))]
    body = "\n".join(f"<p>{part}</p>" for part in paragraphs if part)
    return f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>\n<body>\n{body}\n</body></html>\n'
