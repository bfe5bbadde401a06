"""Faults in the middle of a job: its worker is killed again and again, its broker loses every message."""

import random

from drills.house import House, NotAsExpected
from drills.jobs_made import make_job
from notify.processes import Process

PAUSE = 0.05  # seconds at most from the chosen row to the kill, so that it falls anywhere in a chunk's transaction
AT_START = 0.2  # share of kills that are followed by another while the new worker starts
FLUSHED_JOBS = 6


def kills(house: House, chance: random.Random, *, rows: int, kills: int) -> str:
    """Kill the worker at random moments while it creates rows.

    It goes on by the normal way alone: the job is found stalled, set to error, resumed by the next worker. Which rows
    are waited for, and what then passes until the kill, are random; each kill falls while the job is in progress.
    """
    job = make_job(house, rows)
    worker = house.start_workers()
    house.send("jobs.process_job", job)
    at_start = 0
    for number in range(kills):
        mark = int(rows * (number + chance.random()) / (kills + 1))
        _kill_beyond(house, worker, job, mark, chance.uniform(0, PAUSE))
        if chance.random() < AT_START:
            at_start += 1
            house.pause(chance.uniform(0, 2))
            worker.kill()
            worker.start()
    house.wait_until_complete(beating=True)
    recoveries = house.query("SELECT recoveries FROM jobs_job WHERE id = %s", job)[0][0]
    return f"{kills} kills in progress, {at_start} more at the start, {recoveries} recoveries"


def _kill_beyond(house: House, worker: Process, job: str, mark: int, pause: float) -> None:
    """Kill and start again, once this worker has made rows and the row of that number is there."""
    wanted = max(mark, _made(house, job) + 1)
    house.wait(lambda: _made(house, job) >= wanted, lambda: f"{_made(house, job):,} of {wanted:,} rows", beating=True)
    house.pause(pause)
    worker.kill()
    status = house.query("SELECT status FROM jobs_job WHERE id = %s", job)[0][0]
    if status not in ("in progress", "error"):
        raise NotAsExpected(f"The job is “{status}” before the last kill: give it more --rows, or fewer --kills.")
    worker.start()


def _made(house: House, job: str) -> int:
    """Return how far the job is: chunks are written in the order of the file. One look into an index."""
    return house.query("SELECT coalesce(max(job_row_number) + 1, 0) FROM notify_notification WHERE job_id = %s", job)[
        0
    ][0]


def flushed_broker(house: House, chance: random.Random, *, rows: int, kills: int) -> str:
    """Throw away every message, first with jobs waiting in line, then once more together with the worker.

    Nothing tells the workers what they were to do; the watchdogs read it from the rows.
    """
    jobs = [make_job(house, max(rows // 20, 100)) for _ in range(FLUSHED_JOBS)]
    worker = house.start_workers()
    for job in jobs:
        house.send("jobs.process_job", job)
    _wait_for_share(house, 0.0, beating=False)
    first = house.purge()
    if not first:
        raise NotAsExpected("No message was waiting when the broker was emptied.")
    _wait_for_share(house, chance.uniform(0.6, 0.8), beating=True)
    worker.kill()
    second = house.purge()
    worker.start()
    house.wait_until_complete(beating=True)
    return f"{FLUSHED_JOBS} jobs in line, {first} messages thrown away, {second} more with a kill"


def _wait_for_share(house: House, share: float, *, beating: bool) -> None:
    """Wait until more than this share of the drill's rows has its notification."""

    def made() -> float:
        rows, lost, _ = house.standing()
        return (rows - lost) / rows

    house.wait(lambda: made() > share, lambda: f"{made():.0%} of the rows are made", beating=beating)
