"""What every drill of letters works with."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from drills.house import House
from notify.processes import Process


@dataclass
class Site:
    """What a drill works with: the house, its dice, its letters and the day they are collated."""

    house: House
    chance: random.Random
    day: date
    keys: list[str]
    kills: int
    spoiled: list[str]

    def collate(self, name: str) -> Process:
        """Start the print run of the day."""
        return self.house.processes.start(name, "manage.py", "collate_letters", "--day", str(self.day))

    def finish(self) -> None:
        """Run it to its end."""
        self.house.run("manage.py", "collate_letters", "--day", str(self.day))

    def handed_over(self) -> int:
        """Return how many zips were handed over."""
        sql = "SELECT count(*) FROM letters_printfile f JOIN letters_printrun r ON r.id = f.print_run_id "
        return self.house.query(sql + "WHERE r.day = %s AND f.uploaded_at IS NOT NULL", self.day)[0][0]

    def wait_for_end(self, members: Sequence[Process]) -> None:
        """Wait until these processes are gone."""
        self.house.wait(lambda: None not in {one.status for one in members}, lambda: "some still run", alive=False)
        for one in members:
            self.house.processes.members.pop(one.name, None)
