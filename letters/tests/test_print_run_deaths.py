"""The daily print run killed at any step: each letter goes exactly once, in zips of the same bytes."""

import hashlib
from contextlib import suppress
from datetime import timedelta

import pytest

from letters import print_files, print_run
from letters.models import PrintFile, PrintRun
from letters.tests import print_runs
from letters.tests.print_runs import AT, NOON, STEPS, Killed, break_pdf, kill_at, letter, run, statuses
from letters.tests.storages import members, zips
from notify.models import Notification
from notify.testing import make_provider, make_service

pytestmark = pytest.mark.django_db
folder = print_runs.folder


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_each_letter_ends_in_exactly_one_zip_with_the_same_bytes(
    monkeypatch, settings, folder, step, call
):
    settings.LETTER_ZIP_FILES_LIMIT = 2
    service = make_service()
    letters = [letter(service=service) for _ in range(5)]
    kill_at(monkeypatch, step, call)
    with suppress(Killed):
        run()
    early = {path.name: path.read_bytes() for path in zips(folder)}
    monkeypatch.undo()
    run(AT + timedelta(minutes=5))
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert set(statuses().values()) == {"sent"}
    assert {path.name: path.read_bytes() for path in zips(folder) if path.name in early} == early
    for file in PrintFile.objects.all():
        data = (folder / "postal" / file.name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)
    assert PrintRun.objects.get().letter_count == 5


def test_a_zip_left_behind_is_packed_again_byte_for_byte_also_the_next_day(monkeypatch, folder):
    one = letter()
    kill_at(monkeypatch, "before the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    before = PrintFile.objects.get()
    other = letter(created_at=NOON + timedelta(days=1))
    run(AT + timedelta(days=1))
    assert members(folder) == {str(one.pk): 1, str(other.pk): 1}
    assert hashlib.sha256((folder / "postal" / before.name).read_bytes()).hexdigest() == before.sha256
    assert PrintRun.objects.filter(finished_at__isnull=False).count() == 2


def test_a_zip_that_was_taken_and_acknowledged_before_we_were_killed_is_not_uploaded_again(folder, monkeypatch):
    make_provider("postal")
    one = letter()
    with monkeypatch.context() as patch:
        patch.setattr(print_files, "mark_sent", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    file = PrintFile.objects.get()
    assert file.uploaded_at is None
    zips(folder)[0].unlink()
    (folder / "postal" / "acknowledgements").mkdir()
    line = f"{file.name},{file.letter_count},{file.sha256},accepted"
    (folder / "postal" / "acknowledgements" / "a.csv").write_text(line)
    print_run.tick(clock=lambda: AT)
    assert zips(folder) == []
    assert statuses()[one.pk] == "sending"


@pytest.mark.parametrize("left", [1, 0])
def test_a_pdf_that_goes_between_assigning_and_upload_leaves_its_zip(monkeypatch, folder, left):
    service = make_service()
    letters = [letter(service=service) for _ in range(1 + left)]
    kill_at(monkeypatch, "before the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    break_pdf(folder, letters[0], "removed")
    run(AT + timedelta(minutes=5))
    assert statuses()[letters[0].pk] == "technical-failure"
    assert members(folder) == {str(one.pk): 1 for one in letters[1:]}
    assert PrintFile.objects.count() == left
    assert PrintRun.objects.get().letter_count == left


def test_a_receipt_faster_than_the_end_of_the_upload_stays(monkeypatch):
    make_provider("postal")
    one = letter()
    kill_at(monkeypatch, "after the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    Notification.objects.filter(pk=one.pk).update(status="delivered")
    run()
    assert statuses()[one.pk] == "delivered"
