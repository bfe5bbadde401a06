"""How a status is written: along the model's MOVES, with the condition repeated in the UPDATE.

`move_to` (all rows alike), `move_each` (each row its own) and `bulk.insert_new` are the only writers of a status; a
test walks the calls. For notifications nobody calls them but `callbacks/outcomes.py`, which writes the callbacks too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db import connection, models, transaction


@dataclass(frozen=True, slots=True)
class Move:
    """One row's next status with the fields that go with it.

    where: columns that must still have these values (a claim token), else the row stays as it is.
    """

    pk: Any
    status: str
    fields: dict[str, Any] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)


class StateQuerySet(models.QuerySet):
    """For a model with `Status` and `MOVES: {status: {statuses it may become}}`."""

    def move_to(self, status: str, *, now: datetime, **fields: Any) -> int:
        """Move the rows that may become `status`; a lost race moves fewer. Returns how many moved.

        now: the moment written to updated_at where the model has it. Raises ValueError where nothing may become it.
        """
        sources = [source for source, targets in self.model.MOVES.items() if status in targets]
        if not sources:
            raise ValueError(f"{self.model.__name__}: nothing may move to {status!r}")
        return self.filter(status__in=sources).update(status=status, **_touch(self.model, now), **fields)

    def move_each(self, moves: Sequence[Move], *, now: datetime) -> dict[Any, str]:
        """Move each row to its own status: one UPDATE per set of columns. Returns {key: status before} of the moved.

        Rows are locked in key order first, so that two callers cannot block each other.
        """
        if not moves:
            return {}
        with transaction.atomic():
            rows = self.model._base_manager.filter(pk__in=[move.pk for move in moves]).order_by("pk")
            before = dict(rows.select_for_update().values_list("pk", "status"))
            moved: set[Any] = set()
            for group in _alike(moves):
                moved |= _update_group(self.model, group, now)
        return {pk: status for pk, status in before.items() if pk in moved}

    def claim(self, limit: int) -> list[Any]:
        """Lock up to `limit` rows that nobody else holds, inside atomic(). Returns their keys."""
        return list(self.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])


class States(StateQuerySet):
    """Conditions are chained on subclasses; this name keeps `as_manager` typed."""

    def in_status(self, *statuses: str) -> Self:
        """Rows in one of these statuses."""
        return self.filter(status__in=statuses)


def _touch(model: type[models.Model], now: datetime) -> dict[str, datetime]:
    return {name: now for name in ("updated_at",) if any(f.name == name for f in model._meta.fields)}


def _alike(moves: Iterable[Move]) -> list[list[Move]]:
    """Group moves that write and check the same columns; each group is one statement."""
    groups: dict[tuple, list[Move]] = {}
    for move in moves:
        groups.setdefault((tuple(move.fields), tuple(move.where)), []).append(move)
    return list(groups.values())


def _update_group(model: type[models.Model], group: Sequence[Move], now: datetime) -> set[Any]:
    """UPDATE … FROM unnest(…): every row with its own values, only along MOVES and only where `where` still holds."""
    meta, quote = model._meta, connection.ops.quote_name
    written, checked = list(group[0].fields), list(group[0].where)
    columns = [meta.pk, meta.get_field("status"), *map(meta.get_field, written), *map(meta.get_field, checked)]
    values = [[move.pk, move.status, *move.fields.values(), *move.where.values()] for move in group]
    arrays = [
        [column.get_db_prep_save(row[place], connection) for row in values] for place, column in enumerate(columns)
    ]
    casts = ", ".join(f"%s::{_array_type(column)}[]" for column in columns)
    names = [f"v{place}" for place in range(len(columns))]
    touched = _touch(model, now)
    assignments = [f"status = v.{names[1]}"]
    assignments += [f"{quote(columns[2 + i].column)} = v.{names[2 + i]}" for i in range(len(written))]
    assignments += [f"{quote(name)} = %s" for name in touched]
    tokens = [
        f"n.{quote(columns[i].column)} IS NOT DISTINCT FROM v.{names[i]}" for i in range(2 + len(written), len(columns))
    ]
    pairs = [f"{source}\n{target}" for source, targets in model.MOVES.items() for target in targets]
    sql = (
        f"UPDATE {quote(meta.db_table)} n SET {', '.join(assignments)} "  # noqa: S608  (names come from the model)
        f"FROM unnest({casts}) AS v({', '.join(names)}) WHERE n.{quote(meta.pk.column)} = v.{names[0]} "
        f"AND {' AND '.join(['(n.status || chr(10) || v.v1) = ANY(%s)', *tokens])} RETURNING n.{quote(meta.pk.column)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*touched.values(), *arrays, pairs])
        return {meta.pk.to_python(key) for (key,) in cursor.fetchall()}


def _array_type(column: models.Field) -> str:
    return (column.target_field if column.is_relation else column).rel_db_type(connection).replace("serial", "int")
