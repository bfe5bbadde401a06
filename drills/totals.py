"""Fault drills of totals and retention: killed at every step, over both changes of the clocks, and without beat.

    python -m drills.totals [--only NAME] [--every N]

Exit status 1 when a total is wrong, or anything is deleted that should stay or stays that should go.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

from drills.house import House, NotAsExpected, open_house
from drills.outcomes import Outcome, conduct
from drills.totals_days import beat_away, clock_changes
from drills.totals_kills import backfill, counting, retention
from notify.processes import ProcessDied

DRILLS: dict[str, Callable[..., str]] = {
    "backfill": backfill,
    "counting": counting,
    "retention": retention,
    "clock-changes": clock_changes,
    "beat-away": beat_away,
}


def run_drill(house: House, name: str, *, every: int) -> Outcome:
    """Run one drill and judge it."""
    from drills.totals_made import start_afresh

    begun = time.monotonic()
    start_afresh(house)
    try:
        done, broken = DRILLS[name](house, random.Random(name), every=every), ""
    except (NotAsExpected, ProcessDied) as error:
        done, broken = "not to its end", str(error)
    left = [f"process {pid} ({command}) is left" for pid, command in house.left()]
    return Outcome(name, done, list(filter(None, [broken, *left])), time.monotonic() - begun)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m drills.totals", description="Fault drills of totals, retention.")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--every", type=int, default=1, help="kill at every N-th step only (default: 1)")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every must be 1 or more.")
    return conduct(
        open_house({"NOTIFY_TIME_ZONE": "Europe/London"}),
        options.only or DRILLS,
        lambda house, name: run_drill(house, name, every=options.every),
        title="Fault drills of totals and retention",
    )


if __name__ == "__main__":
    sys.exit(main())
