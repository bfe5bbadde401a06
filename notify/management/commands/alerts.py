"""`manage.py alerts`: list alerts, as a table for people or as JSON lines for programs."""

import json
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from rich.console import Console
from rich.table import Table
from rich.text import Text

from notify.alerts import state_of
from notify.clock import iso
from notify.models import Alert
from notify.telling_words import admin_address, in_local_time

ROWS_SHOWN = 200  # of the table; JSON has them all
MOMENTS = ("first_seen_at", "last_seen_at", "acknowledged_at", "snoozed_until", "resolved_at", "email_told_at",
           "webhook_told_at")  # fmt: skip


class Command(BaseCommand):
    """List alerts, newest first."""

    help = "List alerts, newest first. Times are local in the table and UTC in JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to list and how."""
        parser.add_argument("--open", action="store_true", help="only what is not resolved")
        parser.add_argument("--kind", metavar="K", help="only this kind, such as job-stalled")
        parser.add_argument("--json", action="store_true", help="one JSON object per line")

    def handle(self, *args: Any, **options: Any) -> None:
        """List them; ends with 0 whether or not there are any."""
        rows = Alert.objects.open() if options["open"] else Alert.objects.order_by("-last_seen_at")
        if options["kind"] is not None:
            rows = rows.filter(kind=options["kind"])
        if options["json"]:
            for alert in rows.iterator():
                self.stdout.write(json.dumps(_record(alert), ensure_ascii=True))
        else:
            self._table(list(islice(rows[: ROWS_SHOWN + 1].iterator(), ROWS_SHOWN + 1)))

    def _table(self, alerts: list[Alert]) -> None:
        if not alerts:
            self.stdout.write("No alert.")
            return
        table = Table(title="Alerts", title_justify="left")
        for name in ("state", "kind", "scope", "seen", "since", "last", "message"):
            table.add_column(name, justify="right" if name == "seen" else "left", overflow="fold")
        now, encoding = timezone.now(), getattr(self.stdout, "encoding", None) or "utf-8"
        for alert in alerts[:ROWS_SHOWN]:
            times = (in_local_time(alert.first_seen_at), in_local_time(alert.last_seen_at))
            cells = (state_of(alert, now), alert.kind, alert.scope, f"{alert.times_seen:,}", *times, alert.message)
            table.add_row(*(Text(cell.encode(encoding, "replace").decode(encoding)) for cell in cells))
        console = Console(file=self.stdout, width=max(120, Console().width))  # type: ignore[arg-type]
        console.print(table)
        if len(alerts) > ROWS_SHOWN:
            self.stdout.write(f"The newest {ROWS_SHOWN} are shown; --json lists all.")


def _record(alert: Alert) -> dict[str, Any]:
    plain = {"id": str(alert.pk), "kind": alert.kind, "scope": alert.scope, "message": alert.message}
    state = {"state": state_of(alert, timezone.now()), "times_seen": alert.times_seen}
    moments = {name: iso(getattr(alert, name)) for name in MOMENTS}
    return plain | state | moments | {"url": admin_address(alert)}
