"""What the benchmarks share: a database of their own, medians of interleaved rounds, and one table at the end.

Machines are noisy: every figure stands beside a limit measured in the same run on the same rows, and the ratio is
what counts.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def database() -> Iterator[None]:
    """Give a fresh database beside the configured one, gone afterwards."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django

    django.setup()
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"bench_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def interleaved(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each way once per round, in turn; each returns the seconds it took."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            taken[name].append(run())
    return taken


def seconds(run: Callable[[], Any]) -> float:
    """Return how long a call takes by the wall clock."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_memory(run: Callable[[], Any]) -> float:
    """Return the peak memory in MB of a forked process that makes one call (what it starts with included)."""
    results = multiprocessing.get_context("fork").SimpleQueue()

    def child() -> None:
        run()
        results.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the measured process ended with {process.exitcode}")
    return results.get()


def median(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def show(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print one table, numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*[cell if isinstance(cell, str) else f"{cell:,.2f}" for cell in row])
    Console(width=max(150, Console().width)).print(table)
