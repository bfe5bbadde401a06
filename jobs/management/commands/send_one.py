"""`manage.py send_one TEMPLATE TO`: one message from a template, to oneself."""

import uuid
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jobs.creation import JobRefused
from jobs.one_message import send_one
from jobs.tasks import send_due_notifications
from notify.models import Template


class Command(BaseCommand):
    """Send one test message."""

    help = "Send one message from a template, to see what recipients will get."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take template, recipient and values."""
        parser.add_argument("template", metavar="TEMPLATE", help="the template's id or name")
        parser.add_argument("to", metavar="TO", help="your phone number or email address")
        parser.add_argument(
            "--value", action="append", default=[], metavar="NAME=TEXT", help="a placeholder's value; may be repeated"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the message and nudge the sender."""
        template = self._template(options["template"])
        values = dict(self._pair(text) for text in options["value"])
        try:
            with transaction.atomic():
                send_one(template, recipient=options["to"], values=values, now=timezone.now())
                send_due_notifications.nudge()
        except JobRefused as refused:
            raise CommandError(f"{refused.code}: {refused}", returncode=3) from None
        self.stdout.write("One message is on its way; the admin's notification list shows what becomes of it.")

    def _template(self, text: str) -> Template:
        named = Q(name=text)
        with suppress(ValueError):
            named |= Q(pk=uuid.UUID(text))
        found = list(Template.objects.select_related("service").filter(named)[:2])
        if len(found) != 1:
            problem = "No template is" if not found else "More than one template is"
            raise CommandError(f"{problem} called {text[:40]!r}; give its id.", returncode=2)
        return found[0]

    def _pair(self, text: str) -> tuple[str, str]:
        name, sign, value = text.partition("=")
        if not (sign and name.strip()):
            raise CommandError(f"--value {text[:40]!r} should look like name=Sam.", returncode=2)
        return name, value
