"""Delivering callbacks: claim with a lease, send many at once, write the results in bulk.

“May report twice” is chosen here: a lapsed lease is simply tried again, and webhook-id tells the receiver.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from callbacks import client
from callbacks.models import Callback, Endpoint
from callbacks.payloads import open_payload, readable_token
from notify.alerts import close_gone, raise_alert
from notify.crypto import Unreadable
from notify.flow import flow
from notify.loops import Due, in_slots
from notify.states import Move

LOOP = "callbacks.deliver_due_callbacks"
EXHAUSTED = "callback-exhausted"
# Wait after each try that failed; after the last one the callback is given up. Source: Standard Webhooks, retries.
LADDER = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600)
)
JITTER = 0.2
# Of each endpoint a few at a time, those on the wire counted, and everybody's first before anybody's second: one that
# hangs does not slow the others, however much waits for it.
_CLAIM = """
    UPDATE callbacks_callback c SET claimed_at = %(now)s, due_at = %(lease)s, attempts = c.attempts + 1
    FROM (
        SELECT due.id FROM callbacks_endpoint e
        LEFT JOIN unnest(%(busy)s::bigint[], %(calls)s::int[]) AS wire(endpoint_id, calls) ON wire.endpoint_id = e.id
        CROSS JOIN LATERAL (
            SELECT k.id, k.due_at FROM callbacks_callback k
            WHERE k.endpoint_id = e.id AND k.status = 'pending' AND k.due_at <= %(now)s
            ORDER BY k.due_at LIMIT greatest(0, %(each)s - coalesce(wire.calls, 0)) FOR UPDATE SKIP LOCKED
        ) due
        WHERE e.active
        ORDER BY row_number() OVER (PARTITION BY e.id ORDER BY due.due_at), due.due_at LIMIT %(limit)s
    ) taken
    WHERE c.id = taken.id AND c.status = 'pending' AND c.due_at <= %(now)s
    RETURNING c.id
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A callback this worker holds until its lease runs out; opened and secrets are None where they cannot be read."""

    callback: Callback
    opened: dict[str, Any] | None
    secrets: list[str] | None

    @property
    def token(self) -> dict[str, Any]:
        """What the finishing UPDATE repeats."""
        return {"claimed_at": self.callback.claimed_at, "attempts": self.callback.attempts}


class Delivery:
    """What the loop needs to know of callbacks."""

    def __init__(self) -> None:
        self.concurrency = settings.CALLBACK_CONCURRENCY
        self._held: Counter[int] = Counter()  # rows by endpoint, on the wire or ready for it

    def claim(self, limit: int, now: datetime) -> Sequence[Claimed]:
        """Claim up to `limit` due callbacks and commit."""
        values = {
            "now": now,
            "lease": now + settings.CALLBACK_LEASE,
            "limit": limit,
            "each": max(1, self.concurrency // 2),
            "busy": list(self._held.keys()),
            "calls": list(self._held.values()),
        }
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_CLAIM, values)
            keys = [key for (key,) in cursor.fetchall()]
        if not keys:
            return []
        rows = list(Callback.objects.filter(pk__in=keys).order_by("due_at", "pk"))
        self._held.update(row.endpoint_id for row in rows)
        endpoints = Endpoint.objects.filter(pk__in={row.endpoint_id for row in rows}).only(
            "bearer_token", "signing_secrets"
        )
        own = {endpoint.pk: (endpoint, _secrets(endpoint)) for endpoint in endpoints}
        return [Claimed(row, _opened(row, own[row.endpoint_id][0]), own[row.endpoint_id][1]) for row in rows]

    async def act(self, item: Claimed, session: Any) -> client.Answer:
        """Send one callback."""
        if item.opened is None or item.secrets is None:
            return client.Answer(0, "Unreadable")
        key = str(item.callback.pk)
        return await client.post(session, key=key, opened=item.opened, secrets=item.secrets, now=datetime.now(UTC))

    def finish(self, done: Sequence[tuple[Claimed, Any]], now: datetime) -> None:
        """Write what became of the callbacks."""
        self._release(item for item, _ in done)
        moves = [_move(item, answer, now=now) for item, answer in done]
        with transaction.atomic():
            moved = Callback.objects.move_each(moves, now=now)
            given_up = {move.pk for move in moves if move.status == Callback.Status.EXHAUSTED and move.pk in moved}
            for endpoint in sorted({item.callback.endpoint_id for item, _ in done if item.callback.pk in given_up}):
                _alert_exhausted(endpoint, now=now)

    def give_back(self, items: Sequence[Claimed], now: datetime) -> None:
        """Make claimed callbacks of which no request was begun due again."""
        self._release(items)
        Callback.objects.move_each([_unbegun(item, now=now) for item in items], now=now)

    def _release(self, items: Iterable[Claimed]) -> None:
        self._held.subtract(item.callback.endpoint_id for item in items)
        self._held = +self._held  # without the zeros

    def next_due(self) -> datetime | None:
        """When the next callback is due, within the time a loop may wait for it."""
        before = datetime.now(UTC) + settings.LOOP_DUE_WITHIN
        return Callback.objects.due(before).values_list("due_at", flat=True).first()


def deliver_due() -> int:
    """Deliver what is due in one of the loop's places. Returns how many callbacks were handled."""
    handled = in_slots(
        LOOP,
        lambda until: flow(Delivery(), until=until, opened=client.session),
        waiting=lambda: Callback.objects.due(datetime.now(UTC)).exists(),
    )
    close_exhausted(now=datetime.now(UTC))
    return handled


def close_exhausted(*, now: datetime) -> None:
    """Resolve the alerts of endpoints of which no callback is given up any more: sent again, or past retention."""
    left = Callback.objects.given_up().order_by().values_list("endpoint", flat=True).distinct()
    close_gone(EXHAUSTED, lambda: [_scope(endpoint) for endpoint in left], now=now)


def _opened(callback: Callback, endpoint: Endpoint) -> dict[str, Any] | None:
    try:
        opened = open_payload(callback.payload)
    except Unreadable:
        return None
    if opened["token"] is None:  # it could not be read when the status changed
        opened["token"] = readable_token(endpoint)
    return None if opened["token"] is None else opened


def _secrets(endpoint: Endpoint) -> list[str] | None:
    try:
        return endpoint.signing_secrets
    except Unreadable:  # its callbacks alone are put off
        return None


def _move(item: Claimed, answer: Any, *, now: datetime) -> Move:
    """Delivered, tried again on the ladder, or given up and kept."""
    callback = item.callback
    if isinstance(answer, BaseException):
        answer = client.Answer(0, type(answer).__name__)
    fields = {
        "claimed_at": None,
        "due_at": callback.due_at,
        "last_status_code": answer.status_code or None,
        "last_error": answer.error[:200],
        "delivered_at": None,
    }
    if 200 <= answer.status_code < 300:
        return Move(callback.pk, Callback.Status.DELIVERED, fields | {"delivered_at": now}, item.token)
    if callback.attempts > len(LADDER):
        return Move(callback.pk, Callback.Status.EXHAUSTED, fields, item.token)
    wait = LADDER[callback.attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    wait = max(wait, timedelta(seconds=min(answer.retry_after or 0, LADDER[-1].total_seconds())))
    return Move(callback.pk, Callback.Status.PENDING, fields | {"due_at": now + wait}, item.token)


def _unbegun(item: Claimed, *, now: datetime) -> Move:
    """Undo a claim."""
    fields = {"claimed_at": None, "due_at": now, "attempts": item.callback.attempts - 1}
    return Move(item.callback.pk, Callback.Status.PENDING, fields, item.token)


def _alert_exhausted(endpoint: int, *, now: datetime) -> None:
    raise_alert(
        EXHAUSTED,
        _scope(endpoint),
        "Callbacks to this endpoint were tried for days and given up; they are kept for 30 days. "
        f"Ask the service whether its receiver works. See README, {EXHAUSTED}.",
        now=now,
    )


def _scope(endpoint: int) -> str:
    return f"endpoint {endpoint}"


def due(*, now: datetime) -> Due:
    """Say which callbacks would be delivered now."""
    return Due.of(Callback.objects.due(now), "due_at")
