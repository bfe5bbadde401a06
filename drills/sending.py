"""Fault drills of sending with real processes: whatever is broken, no message is lost, and none goes twice unseen.

    python -m drills.sending [--seed N] [--only NAME] [--rows N] [--kills N]

The same seed makes the same random choices. Exit status 1 when anything is lost, doubled or does not hold.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence

from drills.house import House, NotAsExpected, open_house
from drills.outcomes import NotRun, Outcome, conduct
from drills.sending_faults import DRILLS
from drills.sending_line import SETTINGS, Found
from notify.processes import ProcessDied

ROWS_PER_KILL = 200  # at least, so that something is on the wire at each


def run_drill(house: House, name: str, *, seed: int, rows: int, kills: int) -> Outcome:
    """Run one drill, stop its processes and judge what is left behind."""
    house.begin()
    begun = time.monotonic()
    found, broken = Found(rows, 0, 0), []
    try:
        done, line = DRILLS[name](house, random.Random(f"{seed} {name}"), rows=rows, kills=kills)
        found = line.judge()
    except NotRun as reason:
        return Outcome(name, f"not run: {reason}", [], time.monotonic() - begun, run=False)
    except (NotAsExpected, ProcessDied) as error:
        done, broken = "not to its end", [str(error)]
    house.processes.stop(within=0)  # nothing is in hand any more, and a worker takes seconds to say goodbye
    broken += [*found.broken, *house.broken()]
    return Outcome(name, done, broken, time.monotonic() - begun, found.rows, found.lost, found.doubled)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    options = _read(arguments)
    print(f"Seed {options.seed}", flush=True)
    return conduct(
        open_house({**SETTINGS, "JOB_ROWS_LIMIT": str(options.rows)}),
        options.only or DRILLS,
        lambda house, name: run_drill(house, name, seed=options.seed, rows=options.rows, kills=options.kills),
        title="Fault drills of sending",
        word="rows",
    )


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drills.sending", description="Fault drills of sending.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the random choices")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--rows", type=int, default=20_000, help="of each drill (default: 20,000)")
    parser.add_argument("--kills", type=int, default=10, help="while they are sent (default: 10)")
    options = parser.parse_args(arguments)
    if options.kills < 1 or options.rows < options.kills * ROWS_PER_KILL:
        parser.error(f"--kills must be 1 or more, and --rows at least {ROWS_PER_KILL} for each of them.")
    return options


if __name__ == "__main__":
    sys.exit(main())
