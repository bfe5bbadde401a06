"""Fault drills of jobs with real processes: whatever is broken, every row has exactly one notification at the end.

    python -m drills.jobs [--seed N] [--only NAME] [--rows N] [--kills N]

The same seed makes the same random choices. Exit status 1 when anything is lost, doubled or does not hold.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

from drills.house import House, NotAsExpected, open_house
from drills.jobs_kills import flushed_broker, kills
from drills.jobs_together import together
from drills.jobs_watchdogs import beat_away, deleted_rows
from drills.outcomes import Outcome, conduct
from notify.processes import ProcessDied

DRILLS: dict[str, Callable[..., str]] = {
    "kills": kills,
    "together": together,
    "flushed-broker": flushed_broker,
    "beat-away": beat_away,
    "deleted-rows": deleted_rows,
}
ROWS_PER_KILL = 200  # at least, so that a kill falls between chunks


def run_drill(house: House, name: str, *, seed: int, rows: int, kills: int) -> Outcome:
    """Run one drill, stop its processes and judge what is left behind."""
    house.begin()
    begun = time.monotonic()
    broken = []
    try:
        done = DRILLS[name](house, random.Random(f"{seed} {name}"), rows=rows, kills=kills)
    except (NotAsExpected, ProcessDied) as error:
        done, broken = "not to its end", [str(error)]
    house.processes.stop(within=0)  # nothing is in hand any more, and a worker takes seconds to say goodbye
    broken += house.broken()
    return Outcome(name, done, broken, time.monotonic() - begun, *house.standing())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    options = _read(arguments)
    print(f"Seed {options.seed}", flush=True)
    # A second or two stand in for the half hour after which a job counts as stalled; chunks are small, so that there
    # is something to kill between; nobody gives up on a job, since far more than three recoveries are meant.
    settings = {
        "JOB_STALLED_AFTER_SECONDS": "2",
        "JOB_MISSING_ROWS_AFTER_SECONDS": "600",
        "JOB_RECOVERIES_LIMIT": "1000",
        "JOB_ROWS_LIMIT": str(options.rows),
        "JOB_CHUNK_ROWS": str(max(options.rows // 200, 10)),
    }
    return conduct(
        open_house(settings),
        options.only or DRILLS,
        lambda house, name: run_drill(house, name, seed=options.seed, rows=options.rows, kills=options.kills),
        title="Fault drills of jobs",
        word="rows",
    )


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drills.jobs", description="Fault drills of jobs.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the random choices")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--rows", type=int, default=100_000, help="of the largest job (default: 100,000)")
    parser.add_argument("--kills", type=int, default=20, help="while its rows are made (default: 20)")
    options = parser.parse_args(arguments)
    if options.kills < 1 or options.rows < options.kills * ROWS_PER_KILL:
        parser.error(f"--kills must be 1 or more, and --rows at least {ROWS_PER_KILL} for each of them.")
    return options


if __name__ == "__main__":
    sys.exit(main())
