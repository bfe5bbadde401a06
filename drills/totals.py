"""Fault drills of totals and retention: killed at every step, over both changes of the clocks, and without beat.

    python -m drills.totals [--only NAME] [--every N]

Exit status 1 when a total is wrong, or anything is deleted that should stay or stays that should go.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drills.house import House, NotAsExpected, open_house
from drills.totals_days import beat_away, clock_changes
from drills.totals_kills import backfill, retention
from notify.processes import ProcessDied, StopAsked

DRILLS: dict[str, Callable[..., str]] = {
    "backfill": backfill,
    "retention": retention,
    "clock-changes": clock_changes,
    "beat-away": beat_away,
}
STOPPED = 130


@dataclass(frozen=True)
class Outcome:
    """What became of one drill. broken: what does not hold, in a sentence; empty when all does."""

    drill: str
    done: str
    broken: str
    seconds: float


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
    return Outcome(name, done, " ".join(filter(None, [broken, *left])), time.monotonic() - begun)


def show(outcomes: Sequence[Outcome]) -> None:
    """Print one table, and below it what does not hold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Fault drills of totals and retention", title_justify="left")
    for name in ("drill", "what was done", "totals and messages", "seconds"):
        table.add_column(name, justify="right" if name == "seconds" else "left")
    for one in outcomes:
        table.add_row(one.drill, one.done, "wrong" if one.broken else "right", f"{one.seconds:.0f}")
    console = Console(width=max(150, Console().width))
    console.print(table)
    for one in outcomes:
        if one.broken:
            console.print(f"{one.drill}: {one.broken}", markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m drills.totals", description="Fault drills of totals, retention.")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--every", type=int, default=1, help="kill at every N-th step only (default: 1)")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every must be 1 or more.")
    outcomes: list[Outcome] = []
    try:
        with open_house({"NOTIFY_TIME_ZONE": "Europe/London"}) as house:
            for name in options.only or DRILLS:
                outcome = run_drill(house, name, every=options.every)
                print(f"{name}: {'NOT SURVIVED' if outcome.broken else 'survived'}", flush=True)
                outcomes.append(outcome)
    except StopAsked:
        print("Stopped.")
        return STOPPED
    show(outcomes)
    return 1 if any(one.broken for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
