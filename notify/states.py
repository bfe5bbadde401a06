"""How a status is written: along the model's MOVES, with the condition repeated in the UPDATE.

`move_to` (all rows alike), `move_each` (each row its own) and `bulk.insert_new` are the only writers of a status; a
test walks the calls. For notifications nobody calls them but `callbacks/outcomes.py`, which writes the callbacks too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db import models, transaction

from notify import bulk


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

        Rows are locked in key order first, so that two callers cannot block each other. Raises ValueError where a key
        is named twice: which of its moves would win is not for the database to choose.
        """
        if not moves:
            return {}
        if len({move.pk for move in moves}) < len(moves):
            raise ValueError(f"{self.model.__name__}: a key is named twice in one call of move_each().")
        with transaction.atomic(savepoint=False):
            groups, moved = _alike(moves), {}
            if len(groups) > 1:  # each statement would lock its own rows only
                bulk.lock_in_order(self.model, [move.pk for move in moves])
            for group in groups:
                moved |= _update_group(self.model, group, now)
        return moved

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


def _update_group(model: type[models.Model], group: Sequence[Move], now: datetime) -> dict[Any, str]:
    """Write one group: every row with its own values, only along MOVES and only where `where` still holds."""
    targets = {move.status for move in group}
    pairs = [f"{source}\n{to}" for source, tos in model.MOVES.items() for to in tos if to in targets]
    return bulk.update_each(
        model,
        [move.pk for move in group],
        {"status": [move.status for move in group]}
        | {name: [move.fields[name] for move in group] for name in group[0].fields},
        checked={name: [move.where[name] for move in group] for name in group[0].where},
        alike=_touch(model, now),
        only=("(v.was_status || chr(10) || v.new_status) = ANY(%s)", [pairs]),
        before="status",
    )
