"""What the watchdogs find when they come late: nothing they look for depends on a window of time."""

import random
import re
from datetime import timedelta

from drills.house import House, NotAsExpected
from drills.jobs_made import age, keys_of_rows, leave, make_job, make_processed_job

OF_EACH = 3  # jobs left in each status
DAMAGED, WHOLE = 20, 5
MISSING_ROWS = "jobs.check_for_missing_rows_in_completed_jobs"


def beat_away(house: House, chance: random.Random, *, rows: int, kills: int) -> str:
    """Leave jobs in every unfinished status, let a day pass without beat, then run each watchdog once."""
    size = max(rows // 50, 50)
    _leave_in_every_status(house, chance, size)
    age(house, "1 day")
    house.start_workers()
    house.beat()
    house.wait_until_complete(beating=False)
    alerts = house.query("SELECT kind, scope FROM notify_alert WHERE resolved_at IS NULL")
    if alerts:
        raise NotAsExpected(f"Alerts are open: {alerts}.")
    return f"{len(house.jobs)} jobs left in 6 states, a day passed, each watchdog ran once"


def _leave_in_every_status(house: House, chance: random.Random, size: int) -> None:
    from django.utils import timezone

    for _ in range(OF_EACH):
        make_job(house, size, scheduled_for=timezone.now() + timedelta(hours=1))
        make_job(house, size)
        for status in ("in progress", "error"):
            reached = chance.randrange(size)
            leave(house, make_processed_job(house, size), status, without=range(reached, size))
        missing = chance.sample(range(size), chance.randint(1, size))
        leave(house, make_processed_job(house, size), "finished", without=missing)
        leave(house, make_processed_job(house, size), "finished")  # whole, but nobody counted


def deleted_rows(house: House, chance: random.Random, *, rows: int, kills: int) -> str:
    """Delete rows of finished jobs: exactly those jobs are found, exactly those rows made, all others untouched."""
    size = max(rows // 200, 50)
    jobs = [make_processed_job(house, size) for _ in range(DAMAGED + WHOLE)]
    chance.shuffle(jobs)
    damaged = jobs[:DAMAGED]
    deleted = 0
    for number, job in enumerate(jobs):
        gone = _choose(chance, number, size) if job in damaged else []
        leave(house, job, "finished", without=gone)
        deleted += len(gone)
    age(house, "1 hour")
    before = keys_of_rows(house)
    found = re.findall(r"then jobs\.process_missing_rows (\S+)", house.run("manage.py", "run_watchdog", MISSING_ROWS))
    if sorted(found) != sorted(damaged):
        right = len(set(found) & set(damaged))
        raise NotAsExpected(f"The watchdog found {len(found)} jobs, {right} of them among the {DAMAGED} damaged.")
    house.start_worker()
    house.run("manage.py", "run_watchdog", MISSING_ROWS, "--apply")
    house.wait(lambda: len(house.incomplete()) == WHOLE, lambda: f"{len(house.incomplete())} jobs incomplete")
    house.run("manage.py", "run_watchdog", "jobs.mark_jobs_complete", "--apply")
    after = keys_of_rows(house)
    changed = sum(after.get(row) != key for row, key in before.items())
    if changed or len(after) - len(before) != deleted:
        raise NotAsExpected(
            f"{changed} untouched rows changed; {len(after) - len(before)} of {deleted} rows were made."
        )
    return f"{deleted:,} rows of {DAMAGED} jobs deleted, {WHOLE} jobs left whole"


def _choose(chance: random.Random, number: int, size: int) -> list[int]:
    """Choose which rows go: the first, the last, some in the middle, all, or any."""
    start = chance.randrange(1, size - 1)
    ways = (
        [0],
        [size - 1],
        list(range(start, chance.randint(start + 1, size - 1))),
        list(range(size)),
        chance.sample(range(size), chance.randint(1, size - 1)),
    )
    return ways[number % len(ways)]
