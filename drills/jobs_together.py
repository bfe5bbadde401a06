"""Eight processes do the same thing to the same job at the same moment.

As a program, `python -m drills.jobs_together TASK:JOB …`, it is one of the eight: before each task it waits at a gate,
an advisory lock that the drill holds until all eight stand before it.
"""

import random
import sys

from drills.house import House
from drills.jobs_made import age, leave, make_job, make_processed_job
from notify.processes import ProcessDied

PROCESSES = 8
GATES = 8_311  # first number of the advisory locks; the second is the gate's
_WAITING = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def together(house: House, chance: random.Random, *, rows: int, kills: int) -> str:
    """Start a pending job, resume a job in error and repair a finished job, each with eight processes at once.

    The last two miss random rows.
    """
    size = max(rows // 20, 100)
    pending, in_error, finished = (make(house, size) for make in (make_job, make_processed_job, make_processed_job))
    leave(house, in_error, "error", without=chance.sample(range(size), size // 2))
    leave(house, finished, "finished", without=chance.sample(range(size), size // 2))
    age(house, "1 hour")
    steps = [
        f"jobs.process_job:{pending}",
        f"jobs.process_incomplete_jobs:{in_error}",
        f"jobs.process_missing_rows:{finished}",
    ]
    for gate in range(len(steps)):
        house.query("SELECT pg_advisory_lock(%s, %s)", GATES, gate)
    runners = [house.processes.start(f"runner-{n}", "-m", "drills.jobs_together", *steps) for n in range(PROCESSES)]
    for gate in range(len(steps)):
        house.wait(lambda gate=gate: _waiting(house, gate) == PROCESSES, lambda gate=gate: _state(house, gate))
        house.query("SELECT pg_advisory_unlock(%s, %s)", GATES, gate)
    house.wait(lambda: None not in {one.status for one in runners}, lambda: "some still run", alive=False)
    for one in runners:
        if one.status:
            raise ProcessDied(f"{one.name} ended with status {one.status}:\n{one.tail()}")
    return f"{PROCESSES} processes start, resume and repair one job each at once"


def _waiting(house: House, gate: int) -> int:
    return house.query(_WAITING, GATES, gate)[0][0]


def _state(house: House, gate: int) -> str:
    return f"{_waiting(house, gate)} of {PROCESSES} wait at gate {gate}"


def run_at_gates(steps: list[str]) -> None:
    """Run each task as soon as its gate opens."""
    import django

    django.setup()
    from django.db import connection

    from notify.celery import app

    app.loader.import_default_modules()
    for gate, step in enumerate(steps):
        task, _, job = step.partition(":")
        with connection.cursor() as cursor:
            for lock in ("pg_advisory_lock_shared", "pg_advisory_unlock_shared"):
                cursor.execute(f"SELECT {lock}(%s, %s)", [GATES, gate])
        app.tasks[task].run([job] if task == "jobs.process_incomplete_jobs" else job)


if __name__ == "__main__" and sys.argv[1:]:
    run_at_gates(sys.argv[1:])
