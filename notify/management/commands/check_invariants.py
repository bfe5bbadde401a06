"""`manage.py check_invariants`: what must always hold, asked of every floor."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from notify import floors


class Command(BaseCommand):
    """Print each broken invariant; exit status 1 when there is one."""

    help = "Check what must always hold of jobs, messages, receipts and callbacks; exit status 1 when something is off."

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask every floor."""
        answers = floors.ask("invariants", now=timezone.now())
        for app, broken in answers.items():
            for sentence in broken:
                self.stdout.write(f"{app}: {sentence}")
        total = sum(map(len, answers.values()))
        if total:
            raise SystemExit(1)
        self.stdout.write(f"All invariants hold ({', '.join(answers)}).")
