"""Who reports: basic authentication against the receipt_user and receipt_passwords of a provider's configuration."""

import base64
import binascii
import json
from functools import lru_cache
from hmac import compare_digest
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connection

from notify import crypto
from notify.models import NotificationType

# Plain SQL, and each configuration opened once: this is asked for every receipt, and the ORM would take as long as
# storing it. What is remembered goes by the ciphertext, so a changed password counts at once.
_BY_IDENTIFIER = "SELECT id, identifier, config FROM providers_provider WHERE identifier = %s"
_BY_CHANNEL = "SELECT id, identifier, config FROM providers_provider WHERE notification_type = %s ORDER BY identifier"


class Reporter(NamedTuple):
    """What taking a receipt in needs of its provider; to make a model's instance costs more than to ask for it."""

    pk: int
    identifier: str


def reporter(identifier: str, authorization: str) -> Reporter | None:
    """Return the provider of this name when the credentials are its own.

    Raises crypto.Unreadable where nobody can tell, because a key is missing from ENCRYPTION_KEYS.
    """
    return _first(_BY_IDENTIFIER, identifier, authorization)


def reporter_of(channel: NotificationType, authorization: str) -> Reporter | None:
    """Return the provider of this channel whose credentials these are, whatever it is named; as `reporter`."""
    return _first(_BY_CHANNEL, channel.value, authorization)


def _first(sql: str, value: str, authorization: str) -> Reporter | None:
    given = _credentials(authorization)
    if given is None:
        return None
    unreadable = None
    for pk, name, sealed in _asked(sql, value):
        try:
            pairs = _pairs(bytes(sealed))
        except crypto.Unreadable as error:  # another of the channel may be readable
            unreadable = error
            continue
        if any([compare_digest(given, pair) for pair in pairs]):  # a list: every pair is compared, in constant time
            return Reporter(pk, name)
    if unreadable:
        raise unreadable
    return None


def _asked(sql: str, value: str) -> list[tuple[int, str, memoryview]]:
    """Ask, and once more where the connection turns out to be gone.

    So the question shows by itself whether the kept connection still stands, and Django's own question, which would
    come before it at each request, is saved.
    """
    connection.health_check_done = True
    for last in (False, True):
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, [value])
                return cursor.fetchall()
        except (InterfaceError, OperationalError):
            if last or connection.in_atomic_block:
                raise
            connection.close()
    raise AssertionError("unreachable")


def _credentials(authorization: str) -> bytes | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None


@lru_cache(maxsize=100)
def _pairs(sealed: bytes) -> list[bytes]:
    """Open a configuration; raises crypto.Unreadable."""
    config: dict[str, Any] = json.loads(crypto.decrypt(sealed))
    user = config.get("receipt_user", "")
    return [f"{user}:{password}".encode() for password in config.get("receipt_passwords", [])]
