"""What a demonstration shows: a live table in a terminal, plain lines anywhere else, and the summary at the end."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from callbacks.models import Callback
from jobs.demo import Finding, Standing
from notify.models import Notification

COLUMNS = ("created", "sending", "delivered", "failed", "callbacks")
_STATUS = Notification.Status
_SENDING = (_STATUS.SENDING, _STATUS.PENDING, _STATUS.SENT)
_LINE_EVERY = 2.0  # seconds, without a terminal


def figures(standing: Standing) -> dict[str, int]:
    """Return what the table shows; each message is in one of the first four columns."""
    messages = standing.messages
    counted = {
        "created": messages[_STATUS.CREATED],
        "sending": sum(messages[status] for status in _SENDING),
        "delivered": messages[_STATUS.DELIVERED],
    }
    failed = messages.total() - sum(counted.values())
    return counted | {"failed": failed, "callbacks": standing.callbacks[Callback.Status.DELIVERED]}


class Board:
    """The figures while they change; leaving the block gives the terminal back as it was."""

    def __init__(self, console: Console) -> None:
        self.console = console
        # Without a thread of its own: processes are started from this one meanwhile.
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown: dict[str, int] = {}
        self._shown_at = -_LINE_EVERY

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live:
            self.live.stop()

    def show(self, standing: Standing) -> None:
        """Show the figures as they are now."""
        counted = figures(standing)
        if self.live:
            self.live.update(_table(standing.rows, counted), refresh=True)
        elif counted != self._shown and (standing.settled or time.monotonic() - self._shown_at >= _LINE_EVERY):
            words = "  ".join(f"{name} {counted[name]:,}" for name in COLUMNS)
            self.console.print(f"{standing.rows:,} rows:  {words}", highlight=False, soft_wrap=True)
            self._shown, self._shown_at = counted, time.monotonic()


def summarise(
    console: Console, standing: Standing, refused: Sequence[tuple[int, str]], findings: Sequence[Finding]
) -> None:
    """Say what became of every row, and whether that is what should have become of it."""

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    say(f"\nWhat became of the {standing.rows:,} rows:")
    for status, count in Counter(standing.messages).most_common():
        say(f"  {count:>6,}  {status}")
    for row, code in refused:
        say(f"          row {row:,}: {code}")
    for finding in findings:
        say(f"{'  ok    ' if finding.holds else '  WRONG '}{finding.text}")


def _table(rows: int, counted: dict[str, int]) -> Table:
    table = Table(title=f"{rows:,} rows")
    for name in COLUMNS:
        table.add_column(name, justify="right", min_width=9)
    table.add_row(*(f"{counted[name]:,}" for name in COLUMNS))
    return table
