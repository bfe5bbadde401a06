"""Secrets and personal data at rest, and the keyed hash by which a recipient is found.

Two forms, both under ENCRYPTION_KEYS (newest first; every key of the list can be read, the first one writes):
* `encrypt`/`decrypt`: Fernet, for what stands on its own (provider config, tokens, receipts, callback payloads);
* `seal`/`unseal`: AES-256-GCM under a key derived from each Fernet key, for the two personal columns of every
  notification: an eighth of Fernet's time, and bound to its row and column, so that a ciphertext copied to another
  row cannot be read there.
"""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_KEY_ID, _NONCE = 4, 12  # bytes before the ciphertext
_TAG = 16  # bytes at its end


class Unreadable(Exception):
    """None of ENCRYPTION_KEYS opens this ciphertext, or it belongs to another row."""


class KeyMissing(Unreadable):
    """The key that sealed this is not in ENCRYPTION_KEYS: with it the value could be opened."""


def encrypt(plain: bytes) -> bytes:
    """Encrypt with the newest key (Fernet token, URL-safe base64)."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(plain)


def decrypt(token: bytes) -> bytes:
    """Open a Fernet token with whichever key wrote it; raises Unreadable."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(bytes(token))
    except InvalidToken as error:
        raise Unreadable("None of ENCRYPTION_KEYS opens this value.") from error


def seal(plain: bytes, context: bytes) -> bytes:
    """Encrypt for one place: `context` names row and column and has to be given again to open it.

    Nonces are random: one key may seal 2^32 values (NIST SP 800-38D) before it is time to rotate.
    """
    key_id, cipher = _sealers(tuple(settings.ENCRYPTION_KEYS))[0]
    nonce = os.urandom(_NONCE)
    return key_id + nonce + cipher.encrypt(nonce, plain, context)


def unseal(sealed: bytes, context: bytes) -> bytes:
    """Open what `seal` made for the same context; raises Unreadable, or KeyMissing which is one."""
    key_id, nonce = sealed[:_KEY_ID], sealed[_KEY_ID : _KEY_ID + _NONCE]
    for candidate, cipher in _sealers(tuple(settings.ENCRYPTION_KEYS)):
        if candidate == key_id:
            try:
                return cipher.decrypt(nonce, sealed[_KEY_ID + _NONCE :], context)
            except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce
                raise Unreadable("The ciphertext was changed or belongs to another row.") from error
    if len(sealed) < _KEY_ID + _NONCE + _TAG:
        raise Unreadable("This is no ciphertext: it is too short.")
    raise KeyMissing("The key that sealed this value is not in ENCRYPTION_KEYS.")


def search_hash(recipient: str) -> str:
    """Return the keyed hash (32 hex digits) of a recipient: equal recipients meet, nobody reads one back."""
    return blake2b(recipient.encode(), key=_search_key(settings.SEARCH_HASH_KEY), digest_size=16).hexdigest()


@lru_cache(maxsize=8)
def _fernet(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


@lru_cache(maxsize=8)
def _sealers(keys: Sequence[str]) -> list[tuple[bytes, AESGCM]]:
    return [(_key_id(key), AESGCM(_derive(key))) for key in keys]


def _derive(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"notify: sealed columns").derive(key.encode())


def _key_id(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=_KEY_ID, person=b"key id").digest()


@cache
def _search_key(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=64).digest()
