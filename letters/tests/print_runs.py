"""Letters, print runs and what stops them, for tests of the print run."""

from datetime import UTC, date, datetime, timedelta

import pytest

from letters import postal, print_files, print_run
from letters.tests.storages import use_folders
from notify.models import Notification
from notify.testing import make_letter

SECOND = timedelta(seconds=1)
DAY = date(2026, 7, 1)  # local clocks show an hour more than UTC
DEADLINE = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
STEPS = {
    "before assigning": (print_files, "assign", "before"),
    "after assigning": (print_files, "assign", "after"),
    "before the upload": (postal, "put_whole", "before"),
    "after the upload": (postal, "put_whole", "after"),
    "while letters are settled": (print_files, "settle", "after"),  # inside its transaction, which is rolled back
    "after settling": (print_files, "mark_sent", "after"),
    "before the end": (print_run, "_finish", "before"),
}


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    return use_folders(settings, tmp_path)


def run(now=AT, **day):
    """Collate at a moment."""
    return print_run.collate(clock=lambda: now, **day)


def letter(**fields):
    """Make a letter that is ready, of noon of the day."""
    return make_letter(**({"created_at": NOON} | fields))


def statuses():
    """Return every message's status."""
    return dict(Notification.objects.values_list("pk", "status"))


def break_pdf(folder, one, how):
    """Remove, change or truncate a letter's PDF."""
    path = folder / "letters-pdf" / one.pdf.name
    if how == "removed":
        path.unlink()
    elif how == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        path.write_bytes(path.read_bytes()[:-1])


def spoil(folder, letter):
    """Make a PDF unreadable, for root too: reading the beginning of one's memory is an input/output error."""
    path = folder / "letters-pdf" / letter.pdf.name
    kept = path.rename(path.with_suffix(".kept"))
    path.symlink_to("/proc/self/mem")
    return lambda: kept.replace(path)


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


def kill_at(monkeypatch, step, call):
    """Kill at the `call`-th time that step is reached."""
    module, name, when = STEPS[step]
    real, calls = getattr(module, name), []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == call and when == "before":
            raise Killed
        answer = real(*args, **kwargs)
        if len(calls) == call:
            raise Killed
        return answer

    monkeypatch.setattr(module, name, dying)
