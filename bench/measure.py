"""What the benchmarks share: a database of their own, medians of interleaved rounds, and one table at the end.

Machines are noisy: every figure stands beside a limit measured in the same run on the same rows, and the ratio is
what counts.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify.settings")
os.environ.setdefault("LOG_LEVEL", "ERROR")


@contextmanager
def database() -> Iterator[None]:
    """Give a fresh database beside the configured one, gone afterwards."""
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


def peak_memory(module: str, *arguments: str) -> float:
    """Return the peak memory in MB of a fresh process that runs `module` in this benchmark's database."""
    from django.db import connection

    environment = os.environ | {"BENCH_DATABASE": connection.settings_dict["NAME"]}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def as_measured_process(run: Callable[[], Any]) -> None:
    """Be that process: run, and print the peak memory in MB as the last word."""
    import django

    django.setup()
    from django.db import connection

    connection.settings_dict["NAME"] = os.environ["BENCH_DATABASE"]
    run()
    # VmHWM, not ru_maxrss: that one counts what the process was before exec as well.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


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
