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


def lock_in_order(model: type[models.Model], keys: Sequence[Any]) -> None:
    """Lock the rows of these keys in the keys' order, inside atomic()."""
    with connection.cursor() as cursor:
        cursor.execute(*_locking(model, keys, {}, {}))


def update_each(
    model: type[models.Model],
    keys: Sequence[Any],
    written: Mapping[str, Sequence[Any]],
    *,
    checked: Mapping[str, Sequence[Any]] | None = None,
    alike: Mapping[str, Any] | None = None,
    only: tuple[str, list[Any]] | None = None,
    before: str | None = None,
) -> dict[Any, Any]:
    """Update every row with its own values in one statement. Returns {key: value before} of the rows written.

    written: field name → a value per key. checked: field name → the value per key a row must still have (NULL counts
    as a value). alike: field name → one value for all. before: the field whose value before is returned, else None.
    only: a further condition with its parameters, on `n` (the row), `v.new_…` (written) and `v.was_…` (before).
    """
    if not keys:
        return {}
    checked, field = checked or {}, model._meta.get_field
    new = {**written, **{name: [value] for name, value in (alike or {}).items()}}
    given = {f"new_{name}": (field(name), column) for name, column in new.items()}
    given |= {f"old_{name}": (field(name), column) for name, column in checked.items()}
    read = dict.fromkeys([*checked, before] if before else checked)  # each once
    locking, values = _locking(model, keys, given, {f"was_{name}": field(name) for name in read})
    # Judged by what was locked, not by `n`: where a column is NULL nearly everywhere, as a claim is, the planner
    # expects one such row and compares every row with every key.
    same = [f"v.was_{name} IS NOT DISTINCT FROM v.old_{name}" for name in checked]
    condition, parameters = only or ("true", [])
    sql = (
        f"WITH v AS ({locking}) UPDATE {_table(model)} n "  # noqa: S608  (names come from the model)
        f"SET {', '.join(f'{_column(field(name))} = v.new_{name}' for name in new)} FROM v "
        f"WHERE n.{_column(model._meta.pk)} = v.key AND {' AND '.join([*same, condition])} "
        f"RETURNING v.place, {f'v.was_{before}' if before else 'NULL'}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *parameters])
        return {keys[place - 1]: value for place, value in cursor.fetchall()}


def _locking(
    model: type[models.Model],
    keys: Sequence[Any],
    given: Mapping[str, tuple[models.Field, Sequence[Any]]],
    read: Mapping[str, models.Field],
) -> tuple[str, list[Any]]:
    """Return a query with its parameters that locks rows in key order, so that two callers cannot block each other.

    given: name of a column of its result → field and its value per key. read: name of a column → field of the row.
    Rows are told by their place among the keys: a UUID takes twenty times as long to read as a number.
    """
    pk, shown = model._meta.pk, ["v.*", *(f"n.{_column(field)} AS {name}" for name, field in read.items())]
    names, types, arrays, alike = ["key"], [f"%s::{_type(pk)}[]"], [_array(pk, keys)], []
    for name, (field, column) in given.items():
        if all_alike(column):
            shown.append(f"%s::{_type(field)} AS {name}")
            alike.append(field.get_db_prep_save(column[0], connection))
        else:
            names.append(name)
            types.append(f"%s::{_type(field)}[]")
            arrays.append(_array(field, column))
    sql = (
        f"SELECT {', '.join(shown)} FROM unnest({', '.join(types)}) WITH ORDINALITY AS v({', '.join(names)}, place) "  # noqa: S608
        f"JOIN {_table(model)} n ON n.{_column(pk)} = v.key ORDER BY v.key FOR UPDATE OF n"
    )
    return sql, [*alike, *arrays]


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _column(field: models.Field) -> str:
    return connection.ops.quote_name(field.column)


def _type(field: models.Field) -> str:
    """Return a field's type without its length: text that is too long is an error, and not cut off by a cast."""
    return field.rel_db_type(connection).partition("(")[0]


def _array(field: models.Field, column: Sequence[Any]) -> Any:
    """Return a column's values as one parameter; UUIDs as text, which costs a fifth of preparing each of them."""
    if isinstance(field.target_field if field.is_relation else field, models.UUIDField):
        return uuids(column)
    return [field.get_db_prep_save(value, connection) for value in column]


def uuids(keys: Iterable[Any]) -> str:
    """Write keys (UUIDs, or their text) as one parameter for `%s::uuid[]`; None as NULL."""
    return "{" + ",".join(["NULL" if key is None else str(key) for key in keys]) + "}"
