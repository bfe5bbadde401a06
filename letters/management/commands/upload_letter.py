"""`manage.py upload_letter SERVICE FILE`: make a precompiled letter of a PDF, as the admin's form does."""

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters.tasks import scan_letters
from letters.uploading import ADDRESS_LINES, LetterRefused, Upload, upload_letter
from notify.fields import new_id
from notify.models import Notification, Service, Template

FAILED, USAGE, REFUSED = 1, 2, 3  # exit statuses


class Command(BaseCommand):
    """Exit status: 0 made, 1 made but not fit to be printed, 2 usage, 3 refused with nothing stored."""

    help = "Make a letter of a PDF that is printed as it is, once it is found free of viruses."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take service, file and how it travels."""
        parser.add_argument("service", metavar="SERVICE", help="the service's name or id")
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--postage", choices=Template.Postage.values, default=Template.Postage.SECOND.value)
        parser.add_argument("--reference", default="", help="the service's own, by which the letter is found again")
        parser.add_argument(
            "--address-line", action="append", default=[], metavar="LINE",
            help=f"of the recipient, for finding the letter again; at most {ADDRESS_LINES}, in order",
        )  # fmt: skip
        parser.add_argument(
            "--id", type=uuid.UUID, help="an id of your own: the same command again makes no second letter"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the letter and wake whoever has to do with it."""
        path, now = options["file"], timezone.now()
        upload = Upload(
            letter_id=options["id"] or new_id(), service=_service(options["service"]), file_name=path.name,
            postage=options["postage"], reference=options["reference"], address=tuple(options["address_line"]),
        )  # fmt: skip
        try:
            with path.open("rb") as stream:
                letter = upload_letter(stream, upload, now=now)
        except OSError as error:
            raise CommandError(f"{path} cannot be read ({error.strerror}).", returncode=USAGE) from error
        except LetterRefused as refused:
            raise CommandError(f"{refused} Nothing was stored.", returncode=REFUSED) from None
        message = letter.notification
        again = "" if message.created_at == now else " It was made before; nothing was added."
        if message.status in (Notification.Status.VALIDATION_FAILED, Notification.Status.VIRUS_SCAN_FAILED):
            deliver_due_callbacks.nudge()
            text = f"Letter {letter.pk} will not be printed. {message.status_reason}{again}"
            raise CommandError(text, returncode=FAILED)
        if not again:
            scan_letters.nudge()
        self.stdout.write(f"Letter {letter.pk}: {message.status}.{again}")


def _service(text: str) -> Service:
    """Find the one of that name or id."""
    named = Q(name=text)
    with suppress(ValueError):
        named |= Q(pk=uuid.UUID(text))
    found = list(Service.objects.filter(named)[:2])
    if len(found) != 1:
        names = ", ".join(Service.objects.values_list("name", flat=True)[:5]) or "none; make one in the admin first"
        raise CommandError(f"There is no service {text[:40]!r}. There is: {names}.", returncode=USAGE)
    return found[0]
