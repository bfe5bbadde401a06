"""`manage.py backtest_policy`: what the slow rule would have done in the last days with other parameters."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rich.console import Console
from rich.table import Table

from notify.admin_base import local_time
from providers.backtest import backtest, note_on_retention
from providers.backtest_form import CHANNELS, BacktestForm
from providers.backtest_words import LIMITS, described, summary
from providers.replay import Replay

WIDTH = 110  # a narrower terminal wraps lines; the table stays whole


class Command(BaseCommand):
    """Replay the watchdog's rule minute by minute over stored messages. Nothing is changed.

    What it can know are the delivery times of messages that really went by each provider (providers/replay.py).
    """

    help = "Replay the slow-provider rule over stored messages: when it would have switched, and what that had saved."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the parameters; what is left out comes from the policy in force."""
        parser.add_argument("--type", default="sms", help=f"channel: {' or '.join(kind for kind, _ in CHANNELS)}")
        parser.add_argument("--days", default="7", help="days of 24 hours, up to now (default 7)")
        parser.add_argument("--threshold", help="slow ÷ all from which a provider is slow, above 0 up to 1")
        parser.add_argument("--step", help="points of share moved at a time, 1 to 100")
        parser.add_argument("--window-minutes", help="messages sent this recently are looked at")
        parser.add_argument("--slow-after-minutes", help="a message slower than this is slow")
        parser.add_argument("--settle-minutes", help="nothing moves this long after a change")
        parser.add_argument("--minimum-sample", help="fewer messages than this decide nothing")
        parser.add_argument("--png", metavar="FILE", help="also draw it to this file, whose name ends in .png")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check everything first, then replay and say what was found."""
        form, picture = self._form(options), self._picture(options["png"])
        days, policy = form.cleaned_data["days"], form.policy
        if note := note_on_retention(policy.notification_type, days):
            self.stderr.write(note)
        replay = backtest(policy, days=days, now=timezone.now())
        self._print(replay)
        if picture:
            from providers.backtest_picture import draw

            self._draw(draw, replay, picture)

    def _form(self, options: dict[str, Any]) -> BacktestForm:
        for name in BacktestForm.base_fields:
            if options[name] is not None and not str(options[name]).strip():
                raise CommandError(
                    f"--{name.replace('_', '-')} is empty. Give it a value, or leave it out.", returncode=2
                )
        form = BacktestForm({name: options[name] for name in BacktestForm.base_fields})
        if not form.is_valid():
            name, errors = next(iter(form.errors.items()))
            option, given = f"--{name.replace('_', '-')}", options.get(name)
            what = "" if given is None else f" {str(given)[:40]!r}"
            raise CommandError(f"{option}{what}: {' '.join(errors)}", returncode=2)
        return form

    def _picture(self, name: str | None) -> Path | None:
        if name is None:
            return None
        path = Path(name)
        if path.suffix.lower() != ".png" or path.is_dir():
            raise CommandError(f"--png {name[:80]!r}: Name a file that ends in .png.", returncode=2)
        if not path.parent.is_dir():
            raise CommandError(f"--png: There is no folder {path.parent}. Make it first.", returncode=2)
        return path

    def _draw(self, draw: Any, replay: Replay, path: Path) -> None:
        try:
            draw(replay, path)
        except OSError as error:
            raise CommandError(f"--png: {path} cannot be written: {error.strerror or error}.", returncode=1) from None
        self.stdout.write(f"Drawn to {path}.")

    def _print(self, replay: Replay) -> None:
        console = Console(file=self.stdout, width=max(WIDTH, Console().width), highlight=False)
        console.print(described(replay))
        console.print(_switches(replay) if replay.switches else "It would not have switched.")
        console.print(_carried(replay) if replay.carried else "There is no provider of this channel.")
        console.print(summary(replay))
        console.print(LIMITS.encode(console.encoding, "replace").decode(console.encoding))


def _switches(replay: Replay) -> Table:
    table = Table(title="It would have switched", title_justify="left")
    for name in ("when", "away from", "shares after"):
        table.add_column(name)
    table.add_column("back within the hour")
    for switch in replay.switches:
        shares = ", ".join(f"{name} {share}" for name, share in switch.shares.items())
        table.add_row(local_time(switch.at), switch.described, shares, "yes" if switch.flap else "")
    return table


def _carried(replay: Replay) -> Table:
    table = Table(title="Messages by provider", title_justify="left")
    table.add_column("provider")
    for name in ("really sent", "slow minutes", "sent in them, really", "in the replay", "fewer", "unknown"):
        table.add_column(name, justify="right")
    for name, carried in replay.carried.items():
        figures = (carried.sent, carried.slow_minutes, carried.while_slow, carried.replayed, carried.fewer,
                   carried.unknown)  # fmt: skip
        table.add_row(name, *[f"{round(figure):,}" for figure in figures])
    return table
