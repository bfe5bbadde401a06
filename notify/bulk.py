"""Many rows at once.

New ones: COPY into a temporary table, then INSERT … ON CONFLICT DO NOTHING; half again as fast as bulk_create and,
unlike COPY alone, safe to repeat. Changed ones, each with its own values: one UPDATE … FROM unnest(…).
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models, transaction
from django.db.models.expressions import RawSQL

# Characters psycopg2 asks the buffer for at a time. Its default of 8 kB takes the interpreter's lock hundreds of times
# per chunk, and each time waits for a thread that is busy building the next one.
_READ_AT_ONCE = 4_000_000
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


def among(keys: Iterable[Any]) -> RawSQL:
    """Return keys (UUIDs, or their text) for `field__in` as one parameter: thousands cost next to nothing.

    As a list each key is a parameter of its own, which Django and psycopg2 prepare one by one: 20 µs per key.
    """
    return RawSQL("SELECT unnest(%s::uuid[])", [uuids(keys)])


def all_alike(values: Sequence[Any]) -> bool:
    """Tell whether all values of a column are the same: then it is written once, not as an array of the same."""
    return all(value is values[0] or value == values[0] for value in values)


def insert_new(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Insert the rows that do not exist yet, in one transaction. Returns the keys of those inserted, in no order.

    columns: field attnames; a column that is left out gets its database default, so name every column without one.
    rows: values in the same order, encrypted columns as ciphertext.
    """
    lines = "".join("\t".join(map(cell, row)) + "\n" for row in rows)
    return insert_lines(model, columns, lines)[1]


def insert_lines(
    model: type[models.Model], columns: Sequence[str], lines: str, *, asked: Sequence[Any] | None = None
) -> tuple[int, list[Any]]:
    """As insert_new, for lines in COPY's text format. Returns how many were inserted, and which of the keys `asked`.

    asked: None means all of them; fetching thousands of keys that nobody looks at costs a tenth of the insert.
    """
    if not lines:
        return 0, []
    quote = connection.ops.quote_name
    table, key = quote(model._meta.db_table), quote(model._meta.pk.column)
    staging = quote(f"incoming_{model._meta.db_table}")
    names = ", ".join(quote(model._meta.get_field(name).column) for name in columns)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {staging} ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0")  # noqa: S608
        with connection.wrap_database_errors:  # copy_expert is psycopg2's own and raises its own errors
            cursor.copy_expert(f"COPY {staging} ({names}) FROM STDIN", io.StringIO(lines), _READ_AT_ONCE)
        insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM {staging} ON CONFLICT DO NOTHING"  # noqa: S608
        if asked is None:
            cursor.execute(f"{insert} RETURNING {key}")
            keys = [row[0] for row in cursor.fetchall()]
            count = len(keys)
        elif asked:
            made = f"WITH made AS ({insert} RETURNING {key} AS key) SELECT count(*), array_agg(key) "
            cursor.execute(made + "FILTER (WHERE key = ANY(%s)) FROM made", [list(asked)])
            count, keys = cursor.fetchone()
        else:
            cursor.execute(insert)
            count, keys = cursor.rowcount, []
        cursor.execute(f"DROP TABLE {staging}")  # a second batch of the same transaction needs the name
    return count, keys or []


def lock_in_order(model: type[models.Model], keys: Sequence[Any], column: str) -> dict[Any, Any]:
    """Lock the rows of these keys in the keys' order, inside atomic(). Returns {key: value of the column}.

    Rows come back by their place among the keys: a UUID takes twenty times as long to read as a number.
    """
    quote, pk = connection.ops.quote_name, model._meta.pk
    sql = (
        f"SELECT v.place, n.{quote(model._meta.get_field(column).column)} "  # noqa: S608  (names come from the model)
        f"FROM unnest(%s::{pk.rel_db_type(connection)}[]) WITH ORDINALITY AS v(key, place) "
        f"JOIN {quote(model._meta.db_table)} n ON n.{quote(pk.column)} = v.key ORDER BY v.key FOR UPDATE OF n"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [_array(pk, keys)])
        return {keys[place - 1]: value for place, value in cursor.fetchall()}


def update_each(
    model: type[models.Model],
    keys: Sequence[Any],
    written: Mapping[str, Sequence[Any]],
    *,
    checked: Mapping[str, Sequence[Any]] | None = None,
    alike: Mapping[str, Any] | None = None,
    only: tuple[str, list[Any]] | None = None,
) -> set[Any]:
    """Update every row with its own values in one UPDATE … FROM unnest(…). Returns the keys of the rows written.

    written: field name → a value per key. checked: field name → the value per key a row must still have (NULL counts
    as a value). alike: field name → one value for all. only: a further condition on `n` (row) and `v` (new values),
    with its parameters.
    """
    if not keys:
        return set()
    checked, alike = checked or {}, alike or {}
    same_before = {name: column[0] for name, column in checked.items() if all_alike(column)}
    checked = {name: column for name, column in checked.items() if name not in same_before}
    meta, quote = model._meta, connection.ops.quote_name
    fields = {"key": meta.pk} | {name: meta.get_field(name) for name in written}
    fields |= {f"old_{name}": meta.get_field(name) for name in checked}
    values = [keys, *written.values(), *checked.values()]
    arrays = [_array(field, column) for field, column in zip(fields.values(), values, strict=True)]
    source = ", ".join(f"%s::{field.rel_db_type(connection)}[]" for field in fields.values())
    sets = [f"{quote(meta.get_field(name).column)} = v.{quote(name)}" for name in written]
    sets += [f"{quote(meta.get_field(name).column)} = %s" for name in alike]
    wheres = [f"n.{quote(meta.pk.column)} = v.key"]
    wheres += [f"n.{quote(meta.get_field(n).column)} IS NOT DISTINCT FROM v.{quote(f'old_{n}')}" for n in checked]
    wheres += [f"n.{quote(meta.get_field(n).column)} IS NOT DISTINCT FROM %s" for n in same_before]
    condition, parameters = only or ("true", [])
    sql = (
        f"UPDATE {quote(meta.db_table)} n SET {', '.join(sets)} "  # noqa: S608  (names come from the model)
        f"FROM unnest({source}) WITH ORDINALITY AS v({', '.join(map(quote, [*fields, 'place']))}) "
        f"WHERE {' AND '.join([*wheres, condition])} RETURNING v.place"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*_prepared(model, alike), *arrays, *_prepared(model, same_before), *parameters])
        return {keys[place - 1] for (place,) in cursor.fetchall()}


def _prepared(model: type[models.Model], values: Mapping[str, Any]) -> list[Any]:
    """Return one parameter for each field name → value, as the database wants it."""
    return [model._meta.get_field(name).get_db_prep_save(value, connection) for name, value in values.items()]


def _array(field: models.Field, column: Sequence[Any]) -> Any:
    """Return a column's values as one parameter; UUIDs as text, which costs a fifth of preparing each of them."""
    if isinstance(field.target_field if field.is_relation else field, models.UUIDField):
        return uuids(column)
    return [field.get_db_prep_save(value, connection) for value in column]


def uuids(keys: Iterable[Any]) -> str:
    """Write keys (UUIDs, or their text) as one parameter for `%s::uuid[]`; None as NULL."""
    return "{" + ",".join(["NULL" if key is None else str(key) for key in keys]) + "}"
