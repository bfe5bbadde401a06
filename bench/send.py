"""Sending to a provider that takes 100 ms, from one worker process; beside a bare client loop on the same requests.

The provider is a server process of its own. Both ways have the same number of requests on the wire at once.

    python -m bench.send [--sizes 100 1000 10000] [--rounds 3] [--latency 0.1]
"""

import argparse
import asyncio
import multiprocessing
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

from bench.measure import database, interleaved, median, seconds, show
from bench.waiting import empty, make_waiting, put_back


def serve(latency: float, address: Connection) -> None:
    """Be the provider: take every message after `latency` seconds. Sends its URL through `address`."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(latency)
        return web.json_response({"Reference": 1})

    async def main() -> None:
        application = web.Application()
        application.router.add_post("/", take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024).start()
        address.send("http://{}:{}/".format(*runner.addresses[0]))
        await asyncio.sleep(3_600)

    asyncio.run(main())


def sent() -> float:
    """The loop's own run, from the first claim to the last result that is written."""
    from notify.models import Notification
    from providers import sending

    put_back()
    taken = seconds(lambda: sending.send_due(now=datetime.now(UTC)))
    left = Notification.objects.exclude(status="sending").count()
    if left:
        raise SystemExit(f"{left} messages were not sent")
    return taken


def bare(url: str, rows: int, concurrency: int) -> float:
    """The same requests by a client loop alone: no database, no words, no results."""
    from providers.backends import Message, client_session
    from providers.backends.mmg import MMG

    message = Message("00000000-0000-7000-8000-000000000000", "+447700900123", "x" * 100, "Notify")
    backend = MMG({"url": url, "api_key": "x"})

    async def run() -> None:
        left = iter(range(rows))
        async with client_session(limit=concurrency) as session:

            async def one() -> None:
                for _ in left:
                    await backend.send(session, message)

            await asyncio.gather(*[one() for _ in range(concurrency)])

    return seconds(lambda: asyncio.run(run()))


def main() -> None:
    """Measure every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.1)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(options.latency, theirs), daemon=True)
    server.start()
    url, table = ours.recv(), []
    try:
        with database():
            table = [row for rows in options.sizes for row in measured(rows, url, options.rounds)]
    finally:
        server.terminate()
    columns = ["what", "messages", "seconds", "requests/s", "of the bare loop"]
    show(f"A provider that takes {options.latency:g} s, one process, medians of {options.rounds}", columns, table)


def measured(rows: int, url: str, rounds: int) -> list[list[Any]]:
    """Measure one size; returns its rows of the table."""
    from django.conf import settings

    from notify.testing import make_provider
    from providers.models import Provider

    settings.LOOP_FOR, settings.LOOP_LINGER_FOR = timedelta(hours=1), timedelta(0)  # the wait for more is not work
    if not Provider.objects.exists():
        make_provider("mmg", config={"url": url, "api_key": "x"})
    empty()
    make_waiting(rows)
    concurrency = settings.SENDING_CONCURRENCY
    ways = {
        f"a bare client loop, {concurrency} at once (the limit)": lambda: bare(url, rows, concurrency),
        f"the sending loop, {concurrency} at once": sent,
    }
    taken = {name: median(values) for name, values in interleaved(ways, rounds).items()}
    limit = next(iter(taken.values()))
    return [
        [name, f"{rows:,}", f"{value:.2f}", f"{rows / value:,.0f}", f"{limit / value:.2f}"]
        for name, value in taken.items()
    ]


if __name__ == "__main__":
    main()
