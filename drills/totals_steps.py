"""Killing a process at a chosen step of its work, and putting the house back to where it began.

A step is each statement to the database, each commit and each deletion of a file; the process dies before it, and with
deletions after it as well. It is a fork of the drill, killed by SIGKILL: nothing of it gets to tidy up.
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drills.house import House, NotAsExpected


def killed_at(house: House, step: int, run: Callable[[], Any]) -> bool:
    """Run something in a process that is killed at this step, counted from 1; False when it ended before.

    Returns once the database has noticed. Raises NotAsExpected when the process ended in any other way.
    """
    from django.db import connections

    connections.close_all()
    child = os.fork()
    if child == 0:
        _be_killed(step, run)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise NotAsExpected(f"Killed at step {step}, the process ended with status {status}.")
    house.wait(lambda: not _others(house), lambda: "the killed process's connection lives on", alive=False)
    return status != 0


def _be_killed(step: int, run: Callable[[], Any]) -> None:
    try:
        _die_at(step)
        run()
        os._exit(0)
    except BaseException:  # noqa: BLE001  (whatever it was: the fork must not go on as the drill)
        os._exit(1)


def _die_at(step: int) -> None:
    """Count the steps of this process from now on."""
    from django.core.files.storage import FileSystemStorage
    from django.db import connection

    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(act: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def step_of(*args: Any, **kwargs: Any) -> Any:
            count()
            answer = act(*args, **kwargs)
            if after:
                count()
            return answer

        return step_of

    connection.ensure_connection()
    connection.execute_wrappers.append(lambda execute, *args: counted(execute)(*args))
    connection.commit = counted(connection.commit)
    FileSystemStorage.delete = counted(FileSystemStorage.delete, after=True)


def _others(house: House) -> int:
    found = house.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    return found[0][0]


class Beginning:
    """The tables and files as they are now, to go back to as often as wanted."""

    TABLES = ("notify_dailytotal", "letters_letter", "providers_receipt", "callbacks_callback", "notify_notification")

    def __init__(self, house: House) -> None:
        self._house = house
        self._files = house.var / "letters-pdf"
        self._kept = house.var / "kept"
        for table in self.TABLES:
            house.query(f"DROP TABLE IF EXISTS kept_{table}")
            house.query(f"CREATE TABLE kept_{table} AS TABLE {table}")
        self._copy(self._files, self._kept)

    def again(self) -> None:
        """Go back."""
        self._house.query(f"TRUNCATE {', '.join(self.TABLES)} CASCADE")
        for table in reversed(self.TABLES):
            self._house.query(f"INSERT INTO {table} SELECT * FROM kept_{table}")
        self._copy(self._kept, self._files)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            shutil.copytree(source, target)
