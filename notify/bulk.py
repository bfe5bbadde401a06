"""Many new rows at once: COPY into a temporary table, then INSERT … ON CONFLICT DO NOTHING.

Half again as fast as bulk_create and, unlike COPY alone, safe to repeat: rows that exist stay as they are.
"""

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models, transaction

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def cell(value: Any) -> str:
    """Write one value in PostgreSQL's COPY text format."""
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def insert_new(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Insert the rows that do not exist yet, in one transaction. Returns the keys of those inserted, in no order.

    columns: field attnames; a column that is left out gets its database default, so name every column without one.
    rows: values in the same order, encrypted columns as ciphertext.
    """
    lines = "".join("\t".join(map(cell, row)) + "\n" for row in rows)
    return insert_lines(model, columns, lines)


def insert_lines(model: type[models.Model], columns: Sequence[str], lines: str) -> list[Any]:
    """As insert_new, for lines that are already in COPY's text format."""
    if not lines:
        return []
    quote = connection.ops.quote_name
    table, key = quote(model._meta.db_table), quote(model._meta.pk.column)
    staging = quote(f"incoming_{model._meta.db_table}")
    names = ", ".join(quote(model._meta.get_field(name).column) for name in columns)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {staging} ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0")  # noqa: S608
        cursor.copy_expert(f"COPY {staging} ({names}) FROM STDIN", io.StringIO(lines))
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM {staging} "  # noqa: S608  (names come from the model)
            f"ON CONFLICT DO NOTHING RETURNING {key}"
        )
        keys = [row[0] for row in cursor.fetchall()]
        cursor.execute(f"DROP TABLE {staging}")  # a second batch of the same transaction needs the name
    return keys
