"""How a notification's status is written: with the callback it causes, in one transaction.

Nothing else writes a notification's status. Rows born final (`validation-failed`) come through here too.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from uuid_utils import uuid7

from callbacks.models import Callback, Endpoint
from callbacks.payloads import READ, seal_payload
from notify import bulk
from notify.models import Notification
from notify.states import Move

CHUNK = 5_000  # rows per statement
_COLUMNS = ("id", "endpoint_id", "notification_id", "notification_status", "payload", "status", "attempts", "due_at",
            "created_at", "last_error")  # fmt: skip


def settle(moves: Sequence[Move], *, now: datetime) -> dict[UUID, str]:
    """Move notifications and write the callbacks their new final statuses cause; both or neither.

    moves: each row's next status with its fields; a row whose status or claim token has moved on stays as it is.
    now: the moment of the change (aware, UTC).
    Returns {key: status before} of the rows that moved; a lost race returns fewer.
    """
    moved: dict[UUID, str] = {}
    for start in range(0, len(moves), CHUNK):
        chunk = moves[start : start + CHUNK]
        with transaction.atomic():
            before = Notification.objects.move_each(chunk, now=now)
            target = {move.pk: move.status for move in chunk}
            _tell([pk for pk, old in before.items() if target[pk] in Notification.FINAL and target[pk] != old], now=now)
            moved |= before
    return moved


def settle_new(columns: Sequence[str], lines: Iterable[str], *, born_final: Iterable[UUID], now: datetime) -> int:
    """Insert notifications that do not exist yet, with the callbacks of those born final; all or nothing.

    lines: rows in COPY's text format (notify/bulk.py). born_final: keys among them whose status is final.
    Returns how many were inserted; rows that exist already are left alone.
    """
    with transaction.atomic():
        count, final = bulk.insert_lines(Notification, columns, "".join(lines), asked=list(born_final))
        _tell(final, now=now)
        return count


def _tell(keys: Sequence[Any], *, now: datetime) -> None:
    """Write a callback for each of these whose service has an active endpoint, from the values after the change."""
    if not keys:
        return
    changed = Notification.objects.filter(pk__in=bulk.among(keys)).order_by()
    services = changed.values("service").distinct()
    endpoints = {found.service_id: found for found in Endpoint.objects.filter(active=True, service__in=services)}
    if not endpoints:
        return
    same = "\t".join(map(bulk.cell, (Callback.Status.PENDING, 0, now, now, "")))
    lines = []
    # Plain rows: a model object for each would cost as much as sealing its callback.
    for row in changed.filter(service__in=list(endpoints)).values_list(*READ, named=True):
        endpoint = endpoints[row.service_id]
        own = (uuid7(), endpoint.pk, row.pk, row.status, seal_payload(row, endpoint))
        lines.append("\t".join(map(bulk.cell, own)) + f"\t{same}\n")
    bulk.insert_lines(Callback, _COLUMNS, "".join(lines), asked=())
