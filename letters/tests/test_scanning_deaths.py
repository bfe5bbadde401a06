"""The virus check: workers that die at every step, late ones, two at once."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from letters import clamd, placing, scanning
from letters.models import Letter
from letters.strays import remove_strays
from letters.tests import clamd_server as servers
from letters.tests import scans
from letters.tests.scans import CLEAN, INFECTED, LEASE, NOW, Status, alerts, found, lying, run, waiting
from notify.models import Alert
from notify.testing import make_endpoint, make_service
from notify.tests.together import together

pytestmark = pytest.mark.django_db
clamd_server, scanner, storage = servers.clamd_server, servers.scanner, scans.storage


class Killed(BaseException):
    """A worker that dies here and now."""


@pytest.mark.parametrize("data", [CLEAN, INFECTED], ids=["clean", "infected"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["claim", "_scan", "clamd.scan", "place", "_settle", "settle", "tidy"])
def test_a_worker_that_dies_at_any_step_leaves_work_that_the_next_run_finishes(
    scanner, storage, monkeypatch, step, moment, data
):
    letter = waiting(data)
    home, _, name = f"scanning.{step}".rpartition(".")
    module = clamd if home.endswith("clamd") else scanning
    real = getattr(module, name)

    def dying(*args, **kwargs):
        if moment == "after":
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, dying)
        with pytest.raises(Killed):
            run()
    run(NOW + LEASE)
    letter, status = found(letter)
    final = Status.CREATED if data is CLEAN else Status.VIRUS_SCAN_FAILED
    assert (status, letter.due_at, letter.claimed_at) == (final, None, None)
    files = lying(storage)
    if step == "tidy" or (step, moment) == ("_settle", "after"):  # its copy in letters-scan is swept after a day
        remove_strays(now=datetime.now(UTC) + timedelta(days=2), force=True)
        files = lying(storage)
    assert files == ["letters-pdf" if data is CLEAN else "letters-invalid"]


def test_a_lapsed_lease_is_taken_over_and_the_sleeper_changes_nothing(scanner, storage):
    letter = waiting()
    sleeper = scanning.claim(now=NOW)
    assert scanning.claim(now=NOW) is None
    assert run(NOW + LEASE) == 1
    assert found(letter)[1] == Status.CREATED
    scanning._settle(sleeper, "infected", Status.VIRUS_SCAN_FAILED, "VIRUS_FOUND: late", now=NOW + LEASE)
    assert scanning.put_back(sleeper, "late", now=NOW + LEASE) is False
    letter, status = found(letter)
    assert (status, letter.scan_verdict, letter.due_at) == (Status.CREATED, "clean", None)
    assert alerts() == {}


def test_a_sleeper_whose_file_was_moved_meanwhile_raises_no_alarm(scanner):
    letter = waiting()
    sleeper = scanning.claim(now=NOW)
    run(NOW + LEASE)
    with pytest.raises(FileNotFoundError), placing.fetched(sleeper):
        pass
    assert scanning.put_back(sleeper, "gone", now=NOW) is False
    assert found(letter)[0].last_error == ""


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_scan_each_letter_once(scanner, storage, monkeypatch):
    letters = [waiting(INFECTED if place % 3 == 0 else CLEAN) for place in range(6)]
    scanned = []
    real = scanning._scan

    def scan(letter, copy, *, clock):
        scanned.append(letter.pk)
        real(letter, copy, clock=clock)

    monkeypatch.setattr(scanning, "_scan", scan)
    assert sum(together(run, run)) == 6
    assert sorted(scanned) == sorted(letter.pk for letter in letters)
    assert lying(storage) == ["letters-invalid"] * 2 + ["letters-pdf"] * 4


@pytest.mark.django_db(transaction=True)
def test_two_workers_on_one_letter_leave_one_file_and_one_callback(scanner, storage):
    """As after a lease that ran out while its worker still works."""
    service = make_service()
    make_endpoint(service)
    letter = waiting(INFECTED, service=service)
    first = scanning.claim(now=NOW)
    second = scanning.claim(now=NOW + LEASE)

    def act(mine):
        try:
            with placing.fetched(mine) as copy:
                scanning._scan(mine, copy, clock=lambda: NOW + LEASE)
        except (FileNotFoundError, placing.PlaceTaken):
            pass  # the other one was quicker

    together(lambda: act(first), lambda: act(second))
    Letter.objects.filter(due_at__isnull=False).update(due_at=NOW)
    run(NOW + 2 * LEASE)
    assert found(letter)[1] == Status.VIRUS_SCAN_FAILED
    assert lying(storage) == ["letters-invalid"]
    assert (Callback.objects.count(), Alert.objects.count()) == (1, 1)
