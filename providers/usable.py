"""Which providers can carry messages at this moment, and what is wrong with the others.

One that cannot be used (its configuration is not opened or lacks something, its backend does not load) is given
nothing: its messages wait without using up tries, or go by another provider that has a share.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from notify.alerts import close_alert, close_others, raise_alert
from notify.crypto import Unreadable
from notify.models import Notification
from providers.backends import Backend, load_backend
from providers.models import Provider

logger = logging.getLogger(__name__)
SEALED = "its configuration cannot be opened"


class Backends:
    """The backends of providers, each built once while this object is kept; a changed provider's is built anew."""

    def __init__(self) -> None:
        self._built: dict[tuple[int, datetime], Backend | str] = {}

    def of(self, provider: Provider) -> Backend:
        """Return the backend of a provider that can be used."""
        found = self._find(provider)
        if isinstance(found, str):
            raise ValueError(f"{provider.identifier} cannot be used: {found}")
        return found

    def problem(self, provider: Provider) -> str:
        """Say why a provider cannot be used; empty when it can."""
        found = self._find(provider)
        if isinstance(found, str):
            return found
        if found.notification_type != provider.notification_type:
            return f"its backend carries {found.notification_type} only"
        return found.problem

    def able_each(self, notification_types: Iterable[str]) -> dict[str, list[Provider]]:
        """Return the providers that may be given messages now, by channel: switched on, and they can be used.

        One that is switched on alone needs no share; of several one without a share gets nothing, even where the
        others cannot be used.
        """
        return {
            kind: [one for one in on if (one.share or len(on) == 1) and not self.problem(one)]
            for kind, on in Provider.objects.carrying_each(notification_types).items()
        }

    def able_types(self) -> list[str]:
        """Return the channels for which some provider may carry a message."""
        return [kind for kind, able in self.able_each(Notification.SENT_BY_LOOP).items() if able]

    def close(self) -> None:
        """Close what the backends held open between messages."""
        for found in self._built.values():
            if not isinstance(found, str):
                found.close()

    def _find(self, provider: Provider) -> Backend | str:
        key = (provider.pk, provider.updated_at)
        if key not in self._built:
            self._built[key] = _build(provider)
        return self._built[key]


def judge_providers(*, now: datetime) -> None:
    """Alert for each provider that cannot be used and each channel whose due messages nobody may carry.

    Both alerts close where that is over. A provider that is switched off must still be opened, for its receipts.
    """
    backends, broken = Backends(), {}
    for provider in Provider.objects.order_by("identifier"):
        problem = backends.problem(provider)
        if problem and (provider.active or problem == SEALED):
            broken[provider.identifier] = problem
    for name, problem in broken.items():
        _tell_broken(name, problem, now=now)
    close_others("cannot-send", broken, now=now)
    able = backends.able_types()
    for kind in Notification.SENT_BY_LOOP:
        if kind in able or not Notification.objects.next_due(before=now, types=[kind]):
            close_alert("no-provider", kind, now=now)
        else:
            raise_alert(
                "no-provider",
                kind,
                f"Messages of type {kind} are due, but no provider of that type is active with a share above 0 and can "
                "be used. Nothing is lost: switch a provider on, give one a share, or mend the one that cannot-send "
                "names. See README, no-provider.",
                now=now,
            )


def _build(provider: Provider) -> Backend | str:
    """Build a provider's backend, or say why that is not possible: it must not stop the others."""
    try:
        return load_backend(provider.backend, provider.config)
    except Unreadable:
        return SEALED
    except Exception as error:
        logger.warning("The backend of %s cannot be used", provider.identifier, exc_info=True)
        return f"its backend cannot be used ({type(error).__name__})"


def _tell_broken(name: str, problem: str, *, now: datetime) -> None:
    remedy = "Correct it on its page in the admin."
    if problem == SEALED:
        remedy = (
            "Put the missing key back into ENCRYPTION_KEYS and restart, or enter its address, API key and receipt "
            "password again on its page in the admin. Until then its receipts are answered with 503."
        )
    raise_alert(
        "cannot-send",
        name,
        f"{name} cannot be used: {problem}. Its messages wait and use up no tries, or go by another provider that has "
        f"a share. {remedy} See README, cannot-send.",
        now=now,
    )
