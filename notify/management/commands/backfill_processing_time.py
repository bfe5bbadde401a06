"""`manage.py backfill_processing_time START END`: count again how many messages left within ten seconds."""

from notify.management.commands import backfill_performance_platform_totals as backfill


class Command(backfill.Command):
    """The same run day by day; what is shown is the processing time."""

    help = "Count again, for START to END (both included), how many messages were sent within ten seconds."

    def describe(self, before: tuple[dict[str, int], int] | None, after: tuple[dict[str, int], int]) -> str:
        """Say how the number of messages sent within ten seconds changed."""
        was = f"{before[1]:,} within ten seconds" if before else "nothing"
        return backfill.change(was, f"{after[1]:,} within ten seconds")
