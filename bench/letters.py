"""Letters: PDFs per second, beside a bare loop of the same library on the same data in the same run.

The loop claims letters, reads and decrypts their words, makes, counts and stores their PDFs and writes the results;
the bare loop hands typst the finished data and drops what it makes, or only writes it to a folder: making a file costs
the system a good part of what making a PDF costs us. Each uses one process.

    python -m bench.letters [--sizes 10 100 1000] [--rounds 5]
    python -m bench.letters --full --rounds 1      # 500, 5,000 and 50,000 letters, some minutes
"""

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

from bench.measure import as_measured_process, database, interleaved, median, peak_memory, seconds, show

TARGET = 0.8
FULL = [500, 5_000, 50_000]  # letters: a large day
CONTENT = (
    "Dear ((name)),\n\nYou owe us ((amount)) in council tax. Please pay it by ((due date)).\n\n# How to pay\n\n"
    "* Online, with your reference ((reference))\n* By telephone, at any hour\n* At any post office\n\n"
    "# If you cannot pay\n\n1. Tell us before ((due date)).\n2. Have your reference ready.\n3. We will agree.\n\n"
    + "You may also get help from a free and independent adviser. If we do not hear from you, we may add costs. " * 4
    + "\n\nYours sincerely,\n\nJane Sample\nHead of Revenues"
)


def letters_due(rows: int) -> None:
    """Make letters that wait for their PDF."""
    from django.utils import timezone

    from letters.models import Letter
    from notify.models import Notification
    from notify.testing import ADDRESS, make_service, make_template

    now = timezone.now()
    service = make_service(letter_contact_block="Council Tax\nTown Hall\nAnytown\nAB1 1AA\n\nTelephone: 01632 960 001")
    template = make_template(service, "letter", subject="Your council tax", content=CONTENT)
    made = [
        Notification(
            service=service, template=template, template_version=template.version, notification_type="letter",
            recipient="\n".join([f"Éléonore Person {row}", *ADDRESS[1:]]), created_at=now,
            personalisation={
                "name": f"Éléonore Person {row}", "amount": f"£{row}.50", "duedate": "1 April 2027",
                "reference": f"A{row:06d}",
            },
        )
        for row in range(rows)
    ]  # fmt: skip
    Notification.objects.bulk_create(made, batch_size=1_000)
    Letter.objects.bulk_create([Letter(notification=one, due_at=now) for one in made], batch_size=1_000)


def render() -> None:
    """Render every letter that is due, as the worker's task does."""
    from django.utils import timezone

    from letters import rendering

    while rendering.render_due(clock=timezone.now):
        pass


class Rendering:
    """One size: the letters, and the two ways to make their PDFs."""

    def __init__(self, rows: int) -> None:
        letters_due(rows)
        self.rows = rows

    def ours(self) -> float:
        """Make the letters due again, and render them."""
        from django.utils import timezone

        from letters.models import Letter

        with tempfile.TemporaryDirectory() as folder:
            _store_in(folder)
            Letter.objects.update(due_at=timezone.now(), pdf="", sha256="", pages=None, attempts=0)
            taken = seconds(render)
            if Letter.objects.ready().count() != self.rows:
                raise SystemExit("not every letter was rendered")
        return taken

    def bare(self, folder: str = "") -> float:
        """Typst alone, on the same letters' data made beforehand; with a folder, each PDF is written to it."""
        from letters.letter_content import letter_data
        from letters.typesetting import Typesetter
        from notify.models import Notification
        from providers.words import Words

        words, typesetter = Words(), Typesetter()
        rows = Notification.objects.filter(letter__isnull=False).select_related("service")
        data = [(row.pk, letter_data(row, words), row.created_at) for row in rows.iterator()]

        def run() -> None:
            for pk, one, made_at in data:
                pdf = typesetter.pdf(one, made_at=made_at)
                if folder:
                    Path(folder, f"{pk}.pdf").write_bytes(pdf)

        return seconds(run)

    def written(self) -> float:
        """Typst and the disk alone."""
        with tempfile.TemporaryDirectory() as folder:
            return self.bare(folder)

    def clear(self) -> None:
        """Remove the letters of this size."""
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE notify_notification CASCADE")


def rendering_table(sizes: list[int], rounds: int) -> None:
    """Measure rendering at every size and print its table."""
    table = []
    for rows in sizes:
        bench = Rendering(rows)
        ways = {"bare": bench.bare, "written": bench.written, "ours": bench.ours}
        taken = {name: median(values) for name, values in interleaved(ways, rounds).items()}
        memory = peak_memory("bench.letters", "--render")
        bench.clear()
        for name, label in (
            ("bare", "typst alone, the same data (the limit)"),
            ("written", "typst and each PDF written, nothing else"),
            ("ours", "claim, render, store and write"),
        ):
            ratio = f"{taken['bare'] / taken[name]:.2f}"
            shown = f"{memory:.0f}" if name == "ours" else ""
            table.append([label, f"{rows:,}", f"{taken[name]:.2f}", f"{rows / taken[name]:,.0f}", ratio, shown])
    columns = ["what", "letters", "seconds", "PDFs/s", "of typst", "peak MB"]
    show(f"Letters, one process, medians of {rounds} interleaved rounds (aim: {TARGET} of typst)", columns, table)


def _store_in(folder: str | Path) -> None:
    """Keep the PDFs in a folder of their own, and loops from waiting for more."""
    from django.conf import settings
    from django.core.files.storage import storages

    settings.LOOP_LINGER_FOR = timedelta(0)
    settings.STORAGES["letters-pdf"]["OPTIONS"] = {"location": folder}
    storages._storages.pop("letters-pdf", None)


def _measured() -> None:
    from django.utils import timezone

    from letters.models import Letter

    with tempfile.TemporaryDirectory() as folder:
        _store_in(folder)
        Letter.objects.update(due_at=timezone.now(), pdf="", sha256="", pages=None, attempts=0)
        render()


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1_000])
    parser.add_argument("--full", action="store_const", dest="sizes", const=FULL, default=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--render", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.render:
        as_measured_process(_measured)
        return
    with database():
        rendering_table(options.sizes, options.rounds)


if __name__ == "__main__":
    main()
