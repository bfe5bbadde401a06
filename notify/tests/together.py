"""Several threads at one moment, each with its own database connection."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Run the functions at the same moment. Returns what they return, in order; the first error is raised."""
    barrier = threading.Barrier(len(functions), timeout=60)

    def start(function: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return function()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        running = [pool.submit(start, function) for function in functions]
        return [future.result(timeout=120) for future in running]
