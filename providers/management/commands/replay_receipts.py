"""`manage.py replay_receipts`: put stored receipts back, so that the loop applies them again."""

from argparse import RawDescriptionHelpFormatter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from providers.models import Provider, Receipt
from providers.querysets import ReceiptQuerySet
from providers.replaying import OUTCOMES, PutBack, put_back
from providers.tasks import apply_receipts

SHOWN = 5  # wrong ids that are named


class Command(BaseCommand):
    """Put receipts back by their outcome, or those that are named."""

    help = "Apply stored receipts again: after a code was added to a backend's table, a key came back, or a mistake."
    epilog = "  manage.py replay_receipts --provider mmg --dry-run\n  manage.py replay_receipts --outcome parked"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Show the examples as they are written."""
        kwargs |= {"epilog": self.epilog, "formatter_class": RawDescriptionHelpFormatter}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what narrows the receipts down."""
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids of receipts, of any outcome")
        parser.add_argument("--provider", metavar="IDENTIFIER", help="only receipts of this provider")
        parser.add_argument("--outcome", metavar="OUTCOME", help=f"default: unknown-code; one of {', '.join(OUTCOMES)}")
        parser.add_argument("--dry-run", action="store_true", help="only say how many it would be")

    def handle(self, *args: Any, **options: Any) -> None:
        """Put them back and wake the loop."""
        chosen = self._chosen(options["ids"], options["provider"], options["outcome"])
        if options["dry_run"]:
            with transaction.atomic():
                done = sum(put_back(chosen, now=timezone.now()), PutBack())
                transaction.set_rollback(True)
            self._report(done, "would be")
            return
        done = self._put_back(chosen)
        if options["ids"] and not done.total:
            raise CommandError("None can be put back: they count already, or wait for their first reading.",
                               returncode=3)  # fmt: skip
        self._report(done, "are")
        if done.total and apply_receipts.apply_async() is None:
            self.stdout.write("The wake-up was not sent (no broker); the next tick finds them.")

    def _put_back(self, chosen: ReceiptQuerySet) -> PutBack:
        """Each batch is kept for itself, so that a stop half-way loses nothing."""
        done = PutBack()
        try:
            for batch in put_back(chosen, now=timezone.now()):
                done += batch
        except KeyboardInterrupt:
            apply_receipts.apply_async()
            raise CommandError(f"Stopped: {done.total:,} are put back. Run it again for the rest.",
                               returncode=3) from None  # fmt: skip
        return done

    def _chosen(self, ids: list[str], identifier: str | None, outcome: str | None) -> ReceiptQuerySet:
        """Find what was asked for; everything is checked before anything is written."""
        if outcome is not None and outcome not in OUTCOMES:
            raise CommandError(
                f"No outcome {outcome[:40]!r} can be put back. Known: {', '.join(OUTCOMES)}.", returncode=2
            )
        chosen = Receipt.objects.all()
        if identifier is not None:
            known = list(Provider.objects.order_by("identifier").values_list("identifier", flat=True))
            if identifier not in known:
                names = ", ".join(known) or "none yet"
                raise CommandError(f"There is no provider {identifier[:40]!r}. Known: {names}.", returncode=2)
            chosen = chosen.filter(provider__identifier=identifier)
        if ids:
            chosen = chosen.filter(pk__in=_existing(ids))
        if outcome or not ids:
            chosen = chosen.filter(outcome=OUTCOMES[outcome or "unknown-code"])
        return chosen

    def _report(self, done: PutBack, verb: str) -> None:
        if not done.total:
            self.stdout.write("Nothing to put back.")
            return
        parts = [
            (done.again, "to be read again"),
            (done.arrays, "arrays to be read again for the sake of their elements"),
            (done.hurried, "that waited and are due at once"),
        ]
        counted = ", ".join(f"{count:,} {what}" for count, what in parts if count)
        self.stdout.write(f"Receipts that {verb} put back: {counted}.")


def _existing(texts: list[str]) -> list[UUID]:
    """Turn typed ids into keys of receipts that exist; raises CommandError naming those that are none."""
    keys, wrong = [], []
    for text in texts:
        try:
            keys.append(UUID(text.strip()))
        except ValueError:
            wrong.append(text)
    if wrong:
        raise CommandError(f"No receipt ids: {_named(wrong)}. One looks like 018f3c1e-0000-7000-8000-000000000000.",
                           returncode=2)  # fmt: skip
    there = set(Receipt.objects.filter(pk__in=keys).values_list("pk", flat=True))
    if missing := [str(key) for key in keys if key not in there]:
        raise CommandError(f"There are no such receipts: {_named(missing)}. Nothing was put back.", returncode=3)
    return sorted(there)


def _named(values: list[str]) -> str:
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return ", ".join(repr(value[:40]) for value in values[:SHOWN]) + more
