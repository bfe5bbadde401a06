"""Claiming SMS and email with a lease: fairly between services, each with its provider, within the rate limits."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from notify import bulk
from notify.fields import Sealed
from notify.models import Notification
from providers.models import Provider
from providers.pacing import take_moments
from providers.shares import choose_each

_CLAIM = """
    UPDATE notify_notification n
    SET claimed_at = %(now)s, due_at = %(lease)s, attempts = n.attempts + 1, provider_name = v.provider,
        first_attempt_at = coalesce(n.first_attempt_at, %(now)s)
    FROM unnest(%(keys)s::uuid[], %(providers)s::text[]) AS v(id, provider)
    WHERE n.id = v.id AND n.status = 'created' AND n.claimed_at IS NULL
        AND NOT EXISTS (SELECT FROM providers_pause WHERE ended_at IS NULL)
    RETURNING n.id::text, n.service_id::text, n.template_id::text, n.template_version, n.notification_type, n.recipient,
        n.personalisation, n.attempts, n.unknown_outcomes, n.first_attempt_at
"""
_RECIPIENT, _PERSONALISATION = map(Notification._meta.get_field, ("recipient", "personalisation"))


class Row(NamedTuple):
    """What is read of a claimed message: as a model object it would cost as much as the claim itself.

    recipient and personalisation are ciphertext until the message is put together. Keys are text: as UUIDs they would
    be read, hashed and written in Python, for each message.
    """

    pk: str
    service_id: str
    template_id: str
    template_version: int
    notification_type: str
    recipient: Any
    personalisation: Any
    attempts: int
    unknown_outcomes: int
    first_attempt_at: datetime
    claimed_at: datetime

    def opened(self) -> "Row":
        """Return the row in plain; raises crypto.Unreadable, or KeyMissing which is one."""
        key = UUID(self.pk)
        recipient = _RECIPIENT.open(Sealed(self.recipient), key)
        return self._replace(
            recipient=recipient, personalisation=_PERSONALISATION.open(Sealed(self.personalisation), key)
        )


def claim_fairly(
    carrying: Mapping[str, Sequence[Provider]], *, limit: int, now: datetime
) -> list[tuple[Row, Provider, datetime | None]]:
    """Claim up to `limit` due messages and commit. Returns each with its provider and the moment it may begin.

    Nothing while sending is paused.
    carrying: of each channel that may be sent now some providers. The moment (UTC) is None without a rate limit.
    """
    chosen: dict[str, Provider] = {}
    begins_at: dict[str, datetime | None] = {}
    with transaction.atomic():
        lock = Notification.objects.lock_fairly
        together = [lock(now=now, limit=limit, types=types) for types in _together(carrying)]
        for kinds in together:
            chosen |= choose_each(kinds, carrying)
        Provider.objects.lock_in_order({provider.pk for provider in chosen.values() if provider.rate_limit})
        for kinds in together:
            room = limit - len(begins_at)
            begins_at |= _paced({key: chosen[key] for key in islice(kinds, room)}, now=now)
        rows = _claim({key: chosen[key] for key in begins_at}, now=now)
    return [(row, chosen[row.pk], begins_at[row.pk]) for row in rows]


def _together(carrying: Mapping[str, Sequence[Provider]]) -> list[list[str]]:
    """Return the channels that are claimed in one go: all, or each by itself where a provider has a rate limit.

    What waits for a limited provider must not hide another channel's messages of the same service.
    """
    if not any(provider.rate_limit for providers in carrying.values() for provider in providers):
        return [list(carrying)]
    return [[kind] for kind in random.sample(list(carrying), len(carrying))]


def _paced(chosen: Mapping[str, Provider], *, now: datetime) -> dict[str, datetime | None]:
    """Return the messages that may be claimed and when each may begin; those over a rate limit are left due."""
    begins_at: dict[str, datetime | None] = {}
    of_provider: dict[int, list[str]] = {}
    for key, provider in chosen.items():
        if provider.rate_limit:
            of_provider.setdefault(provider.pk, []).append(key)
        else:
            begins_at[key] = None
    for keys in of_provider.values():
        begins_at |= zip(keys, take_moments(chosen[keys[0]], len(keys), now=now), strict=False)
    return begins_at


def _claim(chosen: Mapping[str, Provider], *, now: datetime) -> list[Row]:
    values = {
        "now": now,
        "lease": now + settings.SENDING_LEASE,
        "keys": bulk.uuids(chosen),
        "providers": [provider.identifier for provider in chosen.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        return [Row(*row, now) for row in cursor.fetchall()]
