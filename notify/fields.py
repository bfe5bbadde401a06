"""Model fields for what must not be readable in the database, and the time-ordered key."""

import json
import uuid
from typing import Any

import uuid_utils
from django.db import models

from notify import crypto


def new_id() -> uuid.UUID:
    """Return a UUIDv7: keys made later sort later, so indexes grow at their end."""
    return uuid.UUID(int=uuid_utils.uuid7().int)


# One encoder for all rows: json.dumps would build one at each call.
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Sealed(bytes):
    """Ciphertext as it lies in a sealed column; opening it takes the row's key."""


class _Opened:
    """Attribute of an encrypted column: holds ciphertext as loaded and opens it at the first look."""

    def __init__(self, field: "_Ciphertext") -> None:
        self.field = field

    def __get__(self, instance: models.Model | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self.field.attname not in instance.__dict__:
            instance.refresh_from_db(fields=[self.field.attname])  # deferred by only() or defer()
        value = instance.__dict__[self.field.attname]
        if isinstance(value, Sealed):
            value = instance.__dict__[self.field.attname] = self.field.open(value, instance.pk)
        return value

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class _Ciphertext(models.BinaryField):
    """What encrypted columns share: plain in Python, opened at the first look, so that loading a row never fails.

    Queries with values() give `Sealed` bytes. What was not opened is saved as it came.
    """

    def open(self, sealed: bytes, pk: Any) -> Any:
        """Open this column's ciphertext of row `pk`; raises crypto.Unreadable."""
        raise NotImplementedError

    def contribute_to_class(self, cls: type[models.Model], name: str, private_only: bool = False) -> None:
        """Put the opening attribute in place."""
        super().contribute_to_class(cls, name, private_only=private_only)
        setattr(cls, self.attname, _Opened(self))

    def to_python(self, value: Any) -> Any:
        """Leave the plain value alone (BinaryField would read text as base64)."""
        return value

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Sealed | None:
        """Mark what was read as ciphertext."""
        return None if value is None else Sealed(value)

    def get_default(self) -> Any:
        """Return the plain default (BinaryField would turn it to bytes)."""
        return self._get_default()


class SealedField(_Ciphertext):
    """Text (or, with json=True, a JSON value) sealed to its row's primary key and its column."""

    def __init__(self, *args: Any, json: bool = False, **kwargs: Any) -> None:
        self.json = json
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """Tell migrations about `json`."""
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, kwargs | ({"json": True} if self.json else {})

    def seal(self, value: Any, pk: Any) -> Sealed:
        """Seal a plain value for row `pk`."""
        text = _to_json(value) if self.json else value
        return Sealed(crypto.seal(text.encode(), self._context(pk)))

    def open(self, sealed: bytes, pk: Any) -> Any:
        """Open this column's ciphertext of row `pk`; raises crypto.Unreadable."""
        text = crypto.unseal(sealed, self._context(pk)).decode()
        return json.loads(text) if self.json else text

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Seal on the way to the database; what was not opened goes back as it came."""
        held = model_instance.__dict__.get(self.attname)
        return held if isinstance(held, Sealed) else self.seal(getattr(model_instance, self.attname), model_instance.pk)

    def _context(self, pk: Any) -> bytes:
        return self.column.encode() + (pk.bytes if isinstance(pk, uuid.UUID) else str(pk).encode())


class EncryptedJSONField(_Ciphertext):
    """A JSON value encrypted with Fernet; for settings and secrets of which there are few."""

    def open(self, sealed: bytes, pk: Any = None) -> Any:
        """Open a ciphertext of this column, which stands on its own; raises crypto.Unreadable."""
        return json.loads(crypto.decrypt(sealed))

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Leave unopened what was not looked at."""
        held = model_instance.__dict__.get(self.attname)
        return held if isinstance(held, Sealed) else getattr(model_instance, self.attname)

    def get_prep_value(self, value: Any) -> Any:
        """Encrypt on the way in."""
        return value if value is None or isinstance(value, Sealed) else crypto.encrypt(json.dumps(value).encode())

    def value_to_string(self, obj: models.Model) -> str:
        """Never let a fixture hold the plain value."""
        raise TypeError(f"{self.model.__name__}.{self.name} is encrypted and is not dumped.")
