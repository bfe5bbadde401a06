"""What became of drills: one outcome each, the loop that runs them, and the table they end in."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from drills.house import House
from notify.processes import StopAsked

STOPPED = 130  # exit status


@dataclass(frozen=True)
class Outcome:
    """What became of one drill. broken: a sentence for whatever does not hold, beside what is lost or doubled.

    counted, lost, doubled: of what the drill counts (rows, letters, alerts); left at 0 where it counts nothing.
    """

    drill: str
    done: str
    broken: Sequence[str]
    seconds: float
    counted: int = 0
    lost: int = 0
    doubled: int = 0

    @property
    def survived(self) -> bool:
        """Whether nothing was lost or doubled and everything holds."""
        return not (self.lost or self.doubled or self.broken)


def conduct(
    opened: AbstractContextManager[House],
    names: Iterable[str],
    run: Callable[[House, str], Outcome],
    *,
    title: str,
    word: str = "",
) -> int:
    """Run drills by name in one house and show what became of them; returns the exit status.

    word: what they count, in the plural; without one the table has no such columns.
    """
    outcomes: list[Outcome] = []
    try:
        with opened as house:
            for name in names:
                outcome = run(house, name)
                print(f"{name}: {'survived' if outcome.survived else 'NOT SURVIVED'}", flush=True)
                outcomes.append(outcome)
    except StopAsked:
        print("Stopped.")
        return STOPPED
    show(outcomes, title=title, word=word)
    return 0 if all(one.survived for one in outcomes) else 1


def show(outcomes: Sequence[Outcome], *, title: str, word: str = "") -> None:
    """Print one table, and below it what does not hold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    numbers = (word, "lost", "doubled") if word else ()
    for name in ("drill", "what was done", *numbers, "all else", "seconds"):
        table.add_column(name, justify="right" if name in (*numbers, "seconds") else "left")
    for one in outcomes:
        counts = [f"{count:,}" for count in (one.counted, one.lost, one.doubled)] if word else []
        table.add_row(one.drill, one.done, *counts, "broken" if one.broken else "holds", f"{one.seconds:.0f}")
    console = Console(width=max(150, Console().width))
    console.print(table)
    for one in outcomes:
        for sentence in one.broken:
            console.print(f"{one.drill}: {sentence}", markup=False, highlight=False)
