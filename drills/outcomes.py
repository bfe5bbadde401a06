"""What became of drills: one outcome each, the loop that runs them, and the table they end in."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from drills.house import House
from notify.processes import StopAsked

STOPPED = 130  # exit status


class NotRun(Exception):
    """A drill cannot be run on this machine; the text says what it needs."""


@dataclass(frozen=True)
class Outcome:
    """What became of one drill. broken: a sentence for whatever does not hold, beside what is lost or doubled.

    run: False where this machine lacks what the drill needs; `done` says what. That is no failure, and not survived.
    counted, lost, doubled: of what the drill counts (rows, letters, alerts); left at 0 where it counts nothing.
    """

    drill: str
    done: str
    broken: Sequence[str]
    seconds: float
    counted: int = 0
    lost: int = 0
    doubled: int = 0
    run: bool = True

    @property
    def failed(self) -> bool:
        """Whether anything was lost or doubled or does not hold."""
        return bool(self.lost or self.doubled or self.broken)

    @property
    def verdict(self) -> str:
        """In words, for the line of its own."""
        return "NOT SURVIVED" if self.failed else "survived" if self.run else "not run"


def conduct(
    opened: AbstractContextManager[House],
    names: Iterable[str],
    run: Callable[[House, str], Outcome],
    *,
    title: str,
    word: str = "",
) -> int:
    """Run drills by name in one house and show what became of them; returns the exit status.

    Stopped part-way, by a person or by what a drill raises, it shows those that came to their end and names the rest.
    word: what they count, in the plural; without one the table has no such columns.
    """
    outcomes: list[Outcome] = []
    left = list(names)
    try:
        with opened as house:
            while left:
                outcomes.append(run(house, left[0]))
                print(f"{left.pop(0)}: {outcomes[-1].verdict}", flush=True)
    except StopAsked:
        print("Stopped.")
        return STOPPED
    finally:
        if outcomes:
            show(outcomes, title=title, word=word)
        if left:
            print(f"Not to the end: {', '.join(left)}.")
    return 1 if any(one.failed for one in outcomes) else 0


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
        rest = "broken" if one.broken else "holds" if one.run else "–"
        table.add_row(one.drill, one.done, *counts, rest, f"{one.seconds:.0f}")
    console = Console(width=max(150, Console().width))
    console.print(table)
    for one in outcomes:
        for sentence in one.broken:
            console.print(f"{one.drill}: {sentence}", markup=False, highlight=False)
