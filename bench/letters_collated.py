"""How fast letters are collated, and that memory does not grow with their number.

    python -m bench.letters_collated [--sizes 50 500 5000] [--bytes 8000] [--rounds 5]
    python -m bench.letters_collated --full --rounds 1      # 500, 5,000 and 50,000 letters, some minutes

The limit is measured in the same run on the same files: reading, hashing and storing them in zips of the same size,
with no database. Memory is the peak of a fresh process that collates everything.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench.measure import as_measured_process, database, median, peak_memory, seconds, show

PER_ZIP = 500
FULL = [500, 5_000, 50_000]  # letters: a large day
FIRST_DAY = date(2026, 1, 5)


def make_letters(count: int, size: int, day: date) -> list[Path]:
    """Make this many letters of one service that are ready for a day's run; returns where their PDFs lie."""
    from django.conf import settings

    from letters.models import Letter
    from notify.clock import print_deadline
    from notify.models import Notification
    from notify.testing import make_template

    folder = Path(settings.STORAGES["letters-pdf"]["OPTIONS"]["location"]) / str(day)
    folder.mkdir(parents=True)
    template = make_template(notification_type="letter")
    made = print_deadline(day) - timedelta(hours=1)
    paths, notifications, letters = [], [], []
    for _ in range(count):
        one = Notification(
            service=template.service, template=template, template_version=1, notification_type="letter",
            recipient="An address", created_at=made,
        )  # fmt: skip
        data = os.urandom(size)
        paths.append(folder / f"{one.pk}.pdf")
        paths[-1].write_bytes(data)
        notifications.append(one)
        name = f"{day}/{one.pk}.pdf"
        letters.append(Letter(notification=one, pdf=name, sha256=hashlib.sha256(data).hexdigest(), pages=2))
    Notification.objects.bulk_create(notifications, batch_size=2_000)
    Letter.objects.bulk_create(letters, batch_size=2_000)
    return paths


def bare(paths: list[Path], target: Path) -> None:
    """Read, hash and store the same files, and nothing else."""
    for start in range(0, len(paths), PER_ZIP):
        with zipfile.ZipFile(target / f"{start}.zip", "w", zipfile.ZIP_STORED) as archive:
            for path in paths[start : start + PER_ZIP]:
                data = path.read_bytes()
                hashlib.sha256(data).hexdigest()
                archive.writestr(path.name, data)


def collate(day: date) -> None:
    """Collate one day's letters."""
    from letters import print_run
    from notify.clock import at_local

    from django.conf import settings  # isort: skip

    now = at_local(day, settings.PRINT_RUN_AT)
    print_run.collate(clock=lambda: now, day=day)


def measure(count: int, size: int, rounds: int, folder: Path, days: list[date]) -> list[Any]:
    """Measure one number of letters. Returns a line of the table."""
    took, limit = [], []
    for _ in range(rounds):
        day = days.pop(0)
        paths = make_letters(count, size, day)
        target = folder / f"bare-{day}"
        target.mkdir()
        limit.append(seconds(lambda paths=paths, target=target: bare(paths, target)))
        took.append(seconds(lambda day=day: collate(day)))
        shutil.rmtree(target)
    day = days.pop(0)
    make_letters(count, size, day)
    memory = peak_memory("bench.letters_collated", "--collate", str(day))
    ours, bound = median(took), median(limit)
    return [f"{count:,}", ours, f"{count / ours:,.0f}", f"{count / bound:,.0f}", bound / ours, memory]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 500, 5_000])
    parser.add_argument("--full", action="store_const", dest="sizes", const=FULL, default=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, default=8_000, help="of a PDF")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--collate", type=date.fromisoformat, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collate:
        as_measured_process(lambda: collate(options.collate))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {f"LETTERS_{place}_STORAGE": str(folder / place.lower()) for place in ("PDF", "POSTAL")}
        with database():
            days = [FIRST_DAY + timedelta(days=ahead) for ahead in range(len(options.sizes) * (options.rounds + 1))]
            lines = [measure(count, options.bytes, options.rounds, folder, days) for count in options.sizes]
    columns = ["letters", "seconds", "letters/s", "bare zip of the same files: letters/s", "ratio", "peak memory, MB"]
    show(f"Letters collated, PDFs of {options.bytes:,} bytes, medians of {options.rounds}", columns, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
