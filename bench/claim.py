"""Claiming messages and writing what became of them, without the HTTP call between; and fairness between services.

Beside it the limit: the bare statements of a claim and of a finish with ready-made values, on the same rows. The loop
claims about as many at once as it has on the wire (SENDING_CONCURRENCY).

    python -m bench.claim [--sizes 100 1000 10000] [--batch 100] [--rounds 3] [--backlog 1000000]
"""

import argparse
from datetime import UTC, datetime
from typing import Any

from bench.measure import database, interleaved, median, seconds, show
from bench.waiting import copy_waiting, empty, make_waiting, put_back

_CLAIM = """
    UPDATE notify_notification SET claimed_at = now(), due_at = now() + interval '60 s', attempts = attempts + 1,
        provider_name = 'mmg', first_attempt_at = now()
    WHERE id IN (SELECT id FROM notify_notification WHERE service_id = %s AND status = 'created' AND due_at <= now()
        AND claimed_at IS NULL ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING *
"""
_FINISH = """
    UPDATE notify_notification SET status = 'sending', sent_at = now(), updated_at = now(), claimed_at = NULL,
        due_at = NULL, provider_reference = '1' WHERE id = ANY(%s) AND status = 'created'
"""


def bare(service: object, batch: int = 100) -> float:
    """The statements alone: no fairness, no decryption, no callbacks, no words."""
    from django.db import connection

    def run() -> None:
        with connection.cursor() as cursor:
            while True:
                cursor.execute(_CLAIM, [service.pk, batch])
                rows = cursor.fetchall()
                if not rows:
                    return
                cursor.execute(_FINISH, [[row[0] for row in rows]])

    put_back()
    return seconds(run)


def claimed(*, words: bool, batch: int = 100) -> float:
    """The loop's own claim and finish; with the words of each message put together, or without."""
    from providers.backends import Message, Outcome, Result
    from providers.sending import Claimed, Sending

    class Unread(Sending):
        def _build(self, row: Any, provider: Any, begins_at: Any) -> Claimed:
            return Claimed(row, provider, Message(row.pk, "+447700900001", "", ""))

    def run() -> None:
        work = Sending() if words else Unread()
        while items := work.claim(batch, datetime.now(UTC)):
            answer = Result(Outcome.ACCEPTED, provider_reference="1")
            work.finish([(item, answer) for item in items], datetime.now(UTC))

    put_back()
    return seconds(run)


def fairness(backlog: int, rounds: int) -> list[Any]:
    """Claim once while one service has a backlog and another ten messages; returns the table's row."""
    from django.db import transaction

    from notify.models import Notification, Service
    from notify.testing import make_notification, make_template

    big = Notification.objects.first().service
    copy_waiting(big, backlog)
    few = make_template(name="few")
    ten = {str(make_notification(template=few, due_at=datetime.now(UTC)).pk) for _ in range(10)}
    taken, found = [], 0

    def claim() -> None:
        nonlocal found
        with transaction.atomic():
            keys = Notification.objects.lock_fairly(now=datetime.now(UTC), limit=100, types=["sms"])
            found = len(ten & set(keys))
            transaction.set_rollback(True)

    for _ in range(rounds * 4):
        taken.append(seconds(claim))
    name = f"one claim, another's backlog {backlog:,}: {found} of the 10 ({Service.objects.count()} services)"
    return [name, "100", f"{median(taken):.4f}", "", "", f"{1_000 * median(taken):.1f}"]


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--batch", type=int, default=100, help="messages claimed at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    options = parser.parse_args()
    table = []
    with database():
        from notify.models import Notification
        from notify.testing import make_provider

        make_provider("mmg")
        make_provider("firetext")
        for rows in options.sizes:
            empty()
            make_waiting(rows)
            service = Notification.objects.first().service
            ways = {
                "the bare statements (the limit)": lambda service=service: bare(service, options.batch),
                "claim + finish": lambda: claimed(words=True, batch=options.batch),
                "claim + finish, words not read": lambda: claimed(words=False, batch=options.batch),
            }
            taken = {name: median(values) for name, values in interleaved(ways, options.rounds).items()}
            limit = taken["the bare statements (the limit)"]
            for name, value in taken.items():
                table.append([name, f"{rows:,}", f"{value:.2f}", f"{rows / value:,.0f}", f"{limit / value:.2f}", ""])
        table.append(fairness(options.backlog, options.rounds))
    columns = ["what", "rows", "seconds", "rows/s", "of the limit", "ms a claim"]
    title = f"Claim and finish in batches of {options.batch}, medians of {options.rounds} interleaved rounds"
    show(title, columns, table)


if __name__ == "__main__":
    main()
