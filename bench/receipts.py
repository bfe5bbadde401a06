"""Receipts: accepted by a real web process, and applied by the loop.

    python -m bench.receipts [--sizes 200 2000 20000] [--posts 3000] [--rounds 3]

Beside them, in the same run: one INSERT and commit per receipt with ready-made values (the limit of accepting), and the
very same UPDATE statements with ready-made values (the limit of applying).
"""

import argparse
import asyncio
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.measure import ROOT, as_measured_process, database, interleaved, median, peak_memory, seconds, show

CONNECTIONS = 32  # of the provider that reports; each waits for its answer before it reports again
APPLIED_A_SECOND, ACCEPTED_A_SECOND, P99 = 5_000, 1_000, 0.1
TABLES = ("notify_notification", "providers_receipt")
_MESSAGES = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, notification_type, recipient,
        recipient_hash, personalisation, client_reference, status, status_reason, provider_name, provider_reference,
        attempts, unknown_outcomes, created_at, sent_at, updated_at)
    SELECT gen_random_uuid(), %s, %s, 1, 'sms', '\\x00', md5(r::text), '\\x00', '', 'sending', '', 'mmg', '', 1, 0,
        now() - interval '1 minute', now() - interval '1 minute', now()
    FROM generate_series(1, %s) r RETURNING id::text
"""


def body(key: str, number: int = 0) -> bytes:
    """Write a receipt as MMG does."""
    receipt = {"CID": key, "status": "3", "substatus": "5", "deliverytime": "2026-11-24 09:30:00", "reference": number}
    return json.dumps(receipt).encode()


class Applying:
    """One size: stored receipts, each of a message of its own, and the ways to write what they say."""

    def __init__(self, rows: int) -> None:
        from django.db import connection
        from django.utils import timezone

        from notify import bulk
        from notify.testing import make_template
        from providers.models import Provider, Receipt

        template, provider, now = make_template(), Provider.objects.get(identifier="mmg"), timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
            cursor.execute(_MESSAGES, [template.service_id, template.pk, rows])
            keys = [key for (key,) in cursor.fetchall()]
        columns = ("id", "provider_id", "dedupe_key", "body", "content_type", "received_at", "due_at", "outcome",
                   "reported", "reason", "code", "times_received")  # fmt: skip
        bulk.insert_new(Receipt, columns, (row(provider, body(key), now) for key in keys))
        self.rows, self.kept = rows, self.keep()
        self.updates: list[list[tuple[str, Any]]] = []
        self.record()

    def keep(self) -> dict[str, str]:
        """Keep the rows as they are before anything is applied."""
        from django.db import connection

        kept = {}
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.copy_expert(f"COPY {table} TO STDOUT", out := io.StringIO())
                kept[table] = out.getvalue()
        return kept

    def reset(self) -> None:
        """Bring those rows back, into empty tables and indexes."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
            for table, lines in self.kept.items():
                cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(lines))
            cursor.execute("VACUUM ANALYZE notify_notification, providers_receipt")

    def record(self) -> None:
        """Apply everything once and keep the UPDATE statements of each batch, with their values."""
        from django.db import connection

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.strip().startswith("UPDATE"):
                batch.append((sql, params))
            return execute(sql, params, many, context)

        self.reset()
        with connection.execute_wrapper(note):
            while True:
                batch: list[tuple[str, Any]] = []
                if not apply_batch():
                    break
                self.updates.append(batch)

    def apply(self) -> float:
        """Apply all of them, as one loop does."""
        self.reset()
        return seconds(apply_all)

    def write(self) -> float:
        """Run the very same UPDATE statements, a transaction per batch."""
        from django.db import connection, transaction

        def run() -> None:
            for batch in self.updates:
                with transaction.atomic(), connection.cursor() as cursor:
                    for sql, params in batch:
                        cursor.execute(sql, params)

        self.reset()
        return seconds(run)

    def two_loops(self) -> float:
        """Apply all of them in two processes at once (LOOP_SLOTS); the time from the first start to the last end."""
        from django.db import connection

        self.reset()
        environment = os.environ | {"BENCH_DATABASE": connection.settings_dict["NAME"]}
        command = [sys.executable, "-m", "bench.receipts", "--loop-at", str(time.monotonic() + 3)]
        loops = [
            subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        # The last word is the peak memory.
        times = [tuple(map(float, loop.communicate()[0].split()[-3:-1])) for loop in loops]
        return max(end for _, end in times) - min(start for start, _ in times)


def row(provider: Any, raw: bytes, now: Any) -> tuple:
    """Return a stored receipt's columns, the body encrypted."""
    import hashlib

    from notify import crypto
    from notify.fields import new_id

    key = hashlib.sha256(raw).hexdigest()
    return (new_id(), provider.pk, key, crypto.encrypt(raw), "application/json", now, now, "", "", "", "", 1)


def apply_batch() -> int:
    """Apply one batch, as the loop's step does."""
    from django.utils import timezone

    from providers import receipts

    return receipts.apply_batch(now=timezone.now())


def apply_all() -> None:
    """Apply what is due."""
    while apply_batch():
        pass


def loop_at(moment: float) -> None:
    """Be one of two loops: start at that monotonic moment, and print when it began and ended."""

    def run() -> None:
        from django.db import connection

        from providers import receipts  # noqa: F401 - imported before the start

        connection.ensure_connection()
        time.sleep(max(0.0, moment - time.monotonic()))
        start = time.monotonic()
        apply_all()
        print(start, time.monotonic())

    as_measured_process(run)


# --- Accepting -------------------------------------------------------------------------------------------------------


def accept(posts: int, rounds: int) -> tuple[list[float], list[float]]:
    """Post receipts to a real web process of two workers. Returns rates per second and 99th percentiles, by round."""
    from django.conf import settings

    from notify.processes import Processes, listen

    environment = {
        "DATABASE_URL": address(), "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "SECRET_KEY": settings.SECRET_KEY, "SEARCH_HASH_KEY": settings.SEARCH_HASH_KEY, "LOG_LEVEL": "ERROR",
    }  # fmt: skip
    rates, slowest = [], []
    with (
        tempfile.TemporaryDirectory() as var,
        Processes(Path(var), environment) as processes,
        closing(listen(8440)) as listener,
    ):
        processes.start_web(listener)
        port = listener.getsockname()[1]
        for number in range(rounds + 1):
            taken, times = post_all(port, [body(f"{number}-{place}", place) for place in range(posts)])
            if number:  # the first round only warms up
                rates.append(posts / taken)
                slowest.append(statistics.quantiles(times, n=100)[98])
    return rates, slowest


def post_all(port: int, bodies: list[bytes]) -> tuple[float, list[float]]:
    """Post them from a process of its own; returns the seconds it took in all, and for each answer."""
    command = [sys.executable, "-m", "bench.receipts", "--post-to", str(port)]
    given = json.dumps([one.decode() for one in bodies])
    done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, text=True, check=True)
    taken, times = json.loads(done.stdout)
    return taken, times


async def client(port: int, bodies: list[str]) -> tuple[float, list[float]]:
    """Be the provider: a bounded number of connections, each of which waits for its answer."""
    import aiohttp

    times: list[float] = []
    left = iter(bodies)

    async def report(session: aiohttp.ClientSession) -> None:
        for one in left:
            start = time.perf_counter()
            async with session.post("/receipts/mmg/", data=one, headers={"Content-Type": "application/json"}) as answer:
                await answer.read()
                if answer.status != 200:
                    raise SystemExit(f"answered {answer.status}")
            times.append(time.perf_counter() - start)

    login = aiohttp.BasicAuth("simulator", "simulator")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", auth=login) as session:
        start = time.perf_counter()
        await asyncio.gather(*[report(session) for _ in range(CONNECTIONS)])
        return time.perf_counter() - start, times


def insert_each(posts: int) -> float:
    """One INSERT and commit per receipt with ready-made values, on as many connections as the web process has."""
    import psycopg2
    from django.db import connection
    from django.utils import timezone

    from providers import receipts
    from providers.models import Provider

    provider, now = Provider.objects.get(identifier="mmg"), timezone.now()
    rows = [row(provider, body(f"bare-{place}"), now)[:7] for place in range(posts)]
    ready = iter([[str(one[0]), *one[1:]] for one in rows])
    parameters = connection.get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)

    def work() -> None:
        with closing(psycopg2.connect(**parameters)) as line, line.cursor() as cursor:
            line.autocommit = True
            for values in ready:
                cursor.execute(receipts._STORE, values)

    with ThreadPoolExecutor(16) as pool:
        return seconds(lambda: [done.result() for done in [pool.submit(work) for _ in range(16)]])


def address() -> str:
    """Write the benchmark's database as an address for the web process."""
    from django.db import connection

    connection.ensure_connection()
    info = connection.connection.info
    where = f":{info.port}/{info.host}" if info.host.startswith("/") else f"{info.host}:{info.port}"
    return f"postgres://{info.user}:{info.password or ''}@{where}/{connection.settings_dict['NAME']}"


def accepting(posts: int, rounds: int) -> None:
    """Measure accepting and print its table."""
    from django.db import connection

    from providers.models import Receipt

    bare = median([insert_each(posts) for _ in range(rounds) if Receipt.objects.all().delete()])
    connection.close()
    rates, slowest = accept(posts, rounds)
    rate = median(rates)
    table = [
        ["one INSERT and commit each, 16 connections (the limit)", f"{posts:,}", f"{posts / bare:,.0f}", "1.00", ""],
        ["accepted by two gunicorn workers", f"{posts:,}", f"{rate:,.0f}", f"{rate * bare / posts:.2f}",
         f"{median(slowest) * 1_000:,.0f}"],
    ]  # fmt: skip
    aim = f"aim: {ACCEPTED_A_SECOND:,}/s, p99 below {P99 * 1_000:.0f} ms"
    show(f"Receipts accepted, medians of {rounds} rounds, {CONNECTIONS} connections ({aim})",
         ["what", "receipts", "receipts/s", "of the limit", "p99 ms"], table)  # fmt: skip


def applying(sizes: list[int], rounds: int) -> None:
    """Measure applying and print its table."""
    table = []
    for rows in sizes:
        bench = Applying(rows)
        ways = {"write": bench.write, "apply": bench.apply, "two loops": bench.two_loops}
        taken = {name: median(values) for name, values in interleaved(ways, rounds).items()}
        bench.reset()
        memory = peak_memory("bench.receipts", "--loop-at", "0")
        for name, label in (
            ("write", "the same UPDATE statements, ready-made (the limit)"), ("apply", "applied by one loop"),
            ("two loops", "applied by two loops at once"),
        ):  # fmt: skip
            shown = f"{memory:.0f}" if name == "apply" else ""
            ratio = f"{taken['write'] / taken[name]:.2f}"
            table.append([label, f"{rows:,}", f"{taken[name]:.2f}", f"{rows / taken[name]:,.0f}", ratio, shown])
    columns = ["what", "receipts", "seconds", "receipts/s", "of the limit", "peak MB"]
    show(f"Receipts applied, medians of {rounds} interleaved rounds (aim: {APPLIED_A_SECOND:,}/s)", columns, table)


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 2_000, 20_000])
    parser.add_argument("--posts", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop-at", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--post-to", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop_at is not None:
        loop_at(options.loop_at)
    elif options.post_to:
        print(json.dumps(asyncio.run(client(options.post_to, json.load(sys.stdin)))))
    else:
        with database():
            from notify.testing import make_provider

            make_provider("mmg")
            accepting(options.posts, options.rounds)
            applying(options.sizes, options.rounds)


if __name__ == "__main__":
    main()
