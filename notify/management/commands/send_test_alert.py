"""`manage.py send_test_alert`: send one alert by every channel now, and say what became of it."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from notify import telling
from notify.alerts import close_alert, close_quiet, raise_alert
from notify.models import Alert

KIND = "test"
NAMES = {"webhook": "ALERT_WEBHOOK_URL", "email": "ALERT_EMAILS"}
FAILED = 3  # exit status


class Command(BaseCommand):
    """Try whether alerts reach somebody."""

    help = "Open an alert of kind test, send it by email and webhook at once, say what became of it, and resolve it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Send it. Ends with 3 when nothing was sent or a channel failed."""
        reason = telling.why_not()
        if reason:
            raise CommandError(f"Nothing was sent. {reason}", returncode=FAILED)
        now = timezone.now()
        # Of a killed run; a newer one may be on the wire.
        close_quiet(KIND, before=now - settings.ALERT_LEASE, now=now)
        scope = f"test {uuid4().hex[:12]}"  # its own, so that two at once do not meet
        try:
            answers = self._send(scope, now=timezone.now())
        finally:
            close_alert(KIND, scope, now=timezone.now())
        failed = [channel for channel, answer in answers.items() if not answer.told]
        for channel, name in NAMES.items():
            self.stdout.write(f"{channel}: {_outcome(answers.get(channel), name)}")
        if failed:
            raise CommandError(f"The test alert was not told by {' and '.join(failed)}.", returncode=FAILED)

    def _send(self, scope: str, *, now: datetime) -> dict[str, telling.Answer]:
        """Open the alert and claim it in one transaction, so that no loop sends it first; then send it."""
        with transaction.atomic():
            raise_alert(
                KIND,
                scope,
                f"Somebody ran send_test_alert to see whether alerts arrive. Nothing is wrong and there is nothing to "
                f"do. See README, {KIND}.",
                now=now,
            )
            alert = Alert.objects.open().get(kind=KIND, scope=scope)
            claimed = {channel: telling.claim(channel, now=now, only=alert.pk) for channel in telling.channels()}
        return {channel: telling.tell(channel, alert, now=now) for channel, alert in claimed.items() if alert}


def _outcome(answer: telling.Answer | None, name: str) -> str:
    if answer is None:
        return f"not used, {name} is not set"
    return "sent" if answer.told else f"FAILED, {answer.error}"
