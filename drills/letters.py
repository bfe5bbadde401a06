"""Fault drills of letters with real processes: each letter ends in exactly one zip, or failed because its PDF is wrong.

Print runs are killed, doubled and given wrong PDFs; clamd is killed while it scans, the line to the postal provider is
cut, a day's run is missed; the days on which the clocks change and a bank holiday are played with the verbs' clock.

    python -m drills.letters [--seed N] [--only NAME] [--letters N] [--kills N]

The same seed makes the same random choices. Exit status 1 when anything is lost, doubled or does not hold.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta

from drills.house import House, NotAsExpected, open_house
from drills.letters_days import bank_holiday, clocks_change, day_missed
from drills.letters_lines import line_cut, scanner_killed
from drills.letters_made import make_letters, spoil, standing
from drills.letters_site import Site
from drills.outcomes import Outcome, conduct
from notify.processes import ProcessDied

BUSY = 3  # exit status of a command that finds another at work
WORKERS = 4
SPOILED = 0.02  # of the letters
FIRST_DAY = date(2026, 1, 5)


def kills(site: Site) -> str:
    """Kill the process that collates again and again, each time at a random moment of its work."""
    done = 0
    for number in range(site.kills):
        member = site.collate("collating")
        wanted = site.handed_over() + site.chance.randrange(3)
        site.house.wait(
            lambda member=member, wanted=wanted: member.status is not None or site.handed_over() > wanted,
            lambda: f"{site.handed_over()} zips",
            alive=False,
        )
        site.house.pause(site.chance.uniform(0, 0.05))
        done += member.status is None
        member.kill()
        site.house.processes.members.pop("collating", None)
        if number == 0 and not done:
            raise NotAsExpected("The print run was over before the first kill: give it more --letters.")
    site.finish()
    return f"{done} kills between the first zip and the last"


def together(site: Site) -> str:
    """Several processes collate the same day at once; one works, and the others say so."""
    members = [site.collate(f"collating-{number}") for number in range(WORKERS)]
    site.wait_for_end(members)
    statuses = sorted(one.status for one in members)
    if set(statuses) - {0, BUSY}:
        raise ProcessDied("\n".join(one.tail() for one in members if one.status not in (0, BUSY)))
    site.finish()
    return f"{WORKERS} processes at once, {statuses.count(BUSY)} of them turned away"


def wrong_files(site: Site) -> str:
    """Remove, change or truncate some PDFs: these letters fail and the others go."""
    site.spoiled = site.chance.sample(site.keys, max(3, int(len(site.keys) * SPOILED)))
    done = spoil(site.house, site.spoiled, site.chance)
    site.finish()
    return ", ".join(f"{count} PDFs {how}" for how, count in sorted(done.items()))


def spoiled_while_killed(site: Site) -> str:
    """Kill it with zips assigned and not handed over, then spoil PDFs: packed again, those are left out."""
    member = site.collate("collating")
    site.house.wait(lambda: site.handed_over() >= 1 or member.status is not None, lambda: "no zip yet", alive=False)
    member.kill()
    site.house.processes.members.pop("collating", None)
    sql = "SELECT notification_id::text FROM letters_letter l LEFT JOIN letters_printfile f ON f.id = l.print_file_id "
    waiting = site.house.query(sql + "WHERE f.uploaded_at IS NULL AND l.notification_id = ANY(%s::uuid[])", site.keys)
    # What lies whole at the provider already was handed over, whatever happens to its PDFs later.
    sql = "SELECT l.notification_id::text, f.name FROM letters_letter l JOIN letters_printfile f "
    lying = dict(site.house.query(sql + "ON f.id = l.print_file_id WHERE f.uploaded_at IS NULL"))
    open_still = [
        key for (key,) in waiting if key not in lying or not (site.house.var / "postal" / lying[key]).exists()
    ]
    if not open_still:
        raise NotAsExpected("Everything was handed over before the kill: give it more --letters.")
    site.spoiled = site.chance.sample(sorted(open_still), max(1, len(open_still) // 50))
    spoil(site.house, site.spoiled, site.chance)
    site.finish()
    return f"killed with {len(open_still):,} letters open, {len(site.spoiled)} PDFs spoiled then"


DRILLS: dict[str, Callable[[Site], str]] = {
    "kills": kills,
    "together": together,
    "wrong-files": wrong_files,
    "spoiled-while-killed": spoiled_while_killed,
    "scanner-killed": scanner_killed,
    "line-cut": line_cut,
    "day-missed": day_missed,
    "clocks-change": clocks_change,
    "bank-holiday": bank_holiday,
}


def run_drill(house: House, name: str, *, seed: int, letters: int, kills: int) -> Outcome:
    """Run one drill, stop its processes and judge what is left behind."""
    from notify.clock import print_deadline

    house.begin()
    begun, chance = time.monotonic(), random.Random(f"{seed} {name}")
    day = FIRST_DAY + timedelta(days=list(DRILLS).index(name))
    keys = make_letters(letters, chance, created_at=print_deadline(day) - timedelta(hours=1))
    site = Site(house, chance, day, keys, kills, [])
    broken = []
    try:
        done = DRILLS[name](site)
    except (NotAsExpected, ProcessDied) as error:
        done, broken = "not to its end", [str(error)]
    house.processes.stop(within=0)
    lost, doubled, found = standing(house, keys, spoiled=site.spoiled)
    broken += found + house.broken()
    return Outcome(name, done, broken, time.monotonic() - begun, letters, lost, doubled)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    options = _read(arguments)
    print(f"Seed {options.seed}", flush=True)
    # Small zips, so that there is something to kill between.
    settings = {"LETTER_ZIP_FILES_LIMIT": str(max(5, options.letters // 50))}
    return conduct(
        open_house(settings),
        options.only or DRILLS,
        lambda house, name: run_drill(house, name, seed=options.seed, letters=options.letters, kills=options.kills),
        title="Fault drills of letters",
        word="letters",
    )


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drills.letters", description="Fault drills of letters.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the random choices")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--letters", type=int, default=5_000, help="per drill (default: 5,000)")
    parser.add_argument("--kills", type=int, default=12, help="while it collates (default: 12)")
    options = parser.parse_args(arguments)
    if options.letters < 100 or options.kills < 1:
        parser.error("--letters must be 100 or more, and --kills 1 or more.")
    return options


if __name__ == "__main__":
    sys.exit(main())
