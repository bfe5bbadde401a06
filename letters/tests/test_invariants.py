"""What must always hold of letters: each breach is named, and a normal run breaks nothing."""

import hashlib
from datetime import UTC, date, datetime

import pytest

from letters import invariants, print_run
from letters.models import Letter, PrintFile, PrintRun
from letters.tests.storages import use_folders
from notify.models import Notification
from notify.testing import make_letter

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)


@pytest.fixture(autouse=True)
def printed(settings, tmp_path):
    use_folders(settings, tmp_path)
    clean = {"kind": "precompiled", "scan_verdict": "clean", "scanned_sha256": hashlib.sha256(b"clean").hexdigest()}
    make_letter(created_at=NOON, pdf=b"clean", **clean)
    make_letter(created_at=NOON, pdf=None)
    print_run.collate(clock=lambda: AT)


def broken():
    return invariants.run(now=AT)


def test_a_normal_run_breaks_nothing_also_after_retention_took_its_letters():
    assert broken() == []
    Letter.objects.all().delete()
    assert broken() == []


def test_a_letter_of_another_run_than_its_file():
    other = PrintRun.objects.create(day=date(2026, 7, 2), deadline=AT)
    Letter.objects.filter(print_file__isnull=False).update(print_run=other)
    assert ["another print run" in one for one in broken()] == [True]


@pytest.mark.parametrize("change", [{"scan_verdict": "infected"}, {"scan_verdict": ""}, {"scanned_sha256": "0" * 64}])
def test_a_printed_upload_without_a_clean_verdict_for_its_bytes(change):
    Letter.objects.filter(print_file__isnull=False).update(**change)
    assert ["without a clean verdict" in one for one in broken()] == [True]


@pytest.mark.parametrize("status", ["created", "cancelled"])
def test_a_letter_that_was_handed_over_and_does_not_say_so(status):
    Notification.objects.filter(letter__print_file__isnull=False).update(status=status)
    assert [f"it is “{status}”" in one for one in broken()] == [True]


def test_more_letters_than_a_zip_holds():
    file = PrintFile.objects.get()
    Letter.objects.update(print_file=file, print_run=file.print_run, scan_verdict="clean")
    Notification.objects.update(status="sent")
    assert ["2 letters point to it, it holds 1" in one for one in broken()] == [True]


def test_a_finished_run_with_a_zip_that_was_never_handed_over():
    PrintFile.objects.update(uploaded_at=None)
    assert ["never handed over" in one for one in broken()] == [True]
