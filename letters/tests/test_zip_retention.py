"""Zips go a while after they were acknowledged, the file before the mark; one that was not acknowledged stays."""

from datetime import UTC, date, datetime, timedelta

import pytest

from letters import retention
from letters.models import PrintFile, PrintRun
from letters.tests.storages import use_folders, zips
from notify.models import Alert

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
LIMIT = timedelta(days=30)
SECOND = timedelta(seconds=1)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    (use_folders(settings, tmp_path) / "postal").mkdir()
    return tmp_path


def make_zip(folder, name, **fields):
    run, _ = PrintRun.objects.get_or_create(day=date(2026, 2, 1), defaults={"deadline": NOW})
    fields = {"uploaded_at": NOW - 2 * LIMIT, "acknowledged_at": NOW - LIMIT - SECOND} | fields
    (folder / "postal" / f"{name}.zip").write_bytes(b"a zip")
    sequence = PrintFile.objects.count() + 1
    return PrintFile.objects.create(
        print_run=run, name=f"{name}.zip", sequence=sequence, sha256="0" * 64, size=5, letter_count=1, **fields
    )


def run():
    return retention.run([], now=NOW, kind="")


def test_only_what_was_acknowledged_longer_ago_than_the_limit_goes_once(folder):
    make_zip(folder, "over")
    make_zip(folder, "at", acknowledged_at=NOW - LIMIT)
    make_zip(folder, "under", acknowledged_at=NOW - LIMIT + SECOND)
    make_zip(folder, "never", acknowledged_at=None)
    make_zip(folder, "not-handed-over", uploaded_at=None)
    assert (run(), run()) == (1, 0)
    assert {path.stem for path in zips(folder)} == {"at", "under", "never", "not-handed-over"}
    assert PrintFile.objects.get(removed_at=NOW).name == "over.zip"


def test_killed_before_the_mark_or_taken_by_the_provider_it_is_marked_by_the_next_run(folder):
    make_zip(folder, "gone")
    zips(folder)[0].unlink()
    assert run() == 1
    assert PrintFile.objects.get().removed_at == NOW


def test_a_zip_that_cannot_be_deleted_keeps_no_other_and_is_said_until_it_is_gone(folder):
    make_zip(folder, "stuck", acknowledged_at=NOW - 2 * LIMIT)
    make_zip(folder, "fine")
    path = folder / "postal" / "stuck.zip"
    path.unlink()
    (path / "inside").mkdir(parents=True)
    assert (run(), run()) == (1, 0)
    assert PrintFile.objects.get(name="stuck.zip").removed_at is None
    assert Alert.objects.open().get().kind == "retention-failed"
    (path / "inside").rmdir()
    assert run() == 1
    assert not Alert.objects.open().exists()


def stuck(folder, name, **fields):
    """Make a zip whose name a folder has that is not empty: it can be neither unlinked nor removed."""
    made = make_zip(folder, name, **fields)
    path = folder / "postal" / made.name
    path.unlink()
    (path / "inside").mkdir(parents=True)


def test_however_many_cannot_be_deleted_the_others_behind_them_go(folder, monkeypatch):
    monkeypatch.setattr(retention, "_BATCH", 2)
    for number in range(5):
        stuck(folder, f"stuck-{number}", acknowledged_at=NOW - 2 * LIMIT)
    for number in range(3):
        make_zip(folder, f"fine-{number}")
    assert [run() for _ in range(3)] == [2, 1, 0]
    assert {file.name for file in PrintFile.objects.filter(removed_at=None)} == {f"stuck-{n}.zip" for n in range(5)}
    assert Alert.objects.open().get().kind == "retention-failed"


def test_a_storage_that_takes_too_long_to_refuse_ends_the_batch_and_one_that_works_does_not(folder, monkeypatch):
    monkeypatch.setattr(retention, "_TRIED_FOR", 0)
    make_zip(folder, "first", acknowledged_at=NOW - 3 * LIMIT)
    stuck(folder, "stuck", acknowledged_at=NOW - 2 * LIMIT)
    make_zip(folder, "behind")
    assert run() == 1
    assert {path.stem for path in zips(folder)} == {"stuck", "behind"}
