"""Letters' files go before their rows and outside any transaction: slow, cut off, held, or two at once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection, transaction

from letters import files
from letters.models import Letter
from letters.tests.storages import use_folders
from notify import deletion
from notify.models import Alert, Notification
from notify.testing import make_letter, make_template
from notify.tests.together import together

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=20)
pytestmark = pytest.mark.django_db(transaction=True)


class Watched(FileSystemStorage):
    """A storage of which the test says what happens when a file is deleted, before it is."""

    before_delete = staticmethod(lambda: None)

    def delete(self, name):
        """Delete the file once the test lets it."""
        self.before_delete()
        super().delete(name)


@pytest.fixture
def watched(settings, tmp_path, monkeypatch):
    use_folders(settings, tmp_path)
    own = {"BACKEND": f"{__name__}.Watched", "OPTIONS": {"location": tmp_path / "letters-pdf"}}
    settings.STORAGES = settings.STORAGES | {"letters-pdf": own}
    return lambda action: monkeypatch.setattr(Watched, "before_delete", staticmethod(action))


def letters(number=1):
    template = make_template(None, "letter")
    return [make_letter(template=template, status="delivered", created_at=OLD) for _ in range(number)]


def run():
    return deletion.delete_past_retention(now=NOW)["deleted"]


def lies_there(letter):
    return files.storage_of(letter).exists(letter.pdf.name)


def test_while_a_storage_takes_its_time_nothing_is_locked_and_no_transaction_is_open(watched):
    (letter,) = letters()
    begun, seen = threading.Event(), threading.Event()
    open_then = []

    def slow():
        open_then.append(connection.in_atomic_block)
        begun.set()
        assert seen.wait(10)

    def look():
        assert begun.wait(10)
        try:
            with transaction.atomic():
                list(Notification.objects.select_for_update(nowait=True))
                return list(Letter.objects.select_for_update(nowait=True))
        finally:
            seen.set()

    watched(slow)
    assert together(run, look) == [1, [letter]]
    assert open_then == [False]
    assert not lies_there(letter)


def test_cut_off_between_file_and_row_the_next_run_finds_the_row(watched):
    kept = letters(2)

    class Cut(BaseException):
        """Stands for the end of the process."""

    def cut(execute, sql, *rest):
        if sql.startswith("DELETE FROM notify_notification"):
            raise Cut
        return execute(sql, *rest)

    with pytest.raises(Cut), connection.execute_wrapper(cut):
        run()
    assert [lies_there(letter) for letter in kept].count(False) > 0
    assert (Notification.objects.count(), Letter.objects.count()) == (2, 2)
    assert run() == 2
    assert not any(lies_there(letter) for letter in kept)
    assert not Letter.objects.exists()


def test_a_storage_that_is_away_leaves_file_and_row_and_is_said_until_it_is_back(watched):
    (letter,) = letters()

    def away():
        raise ConnectionError

    watched(away)
    assert run() == 0
    assert (lies_there(letter), Letter.objects.count()) == (True, 1)
    assert Alert.objects.open().get().kind == "retention-failed"
    watched(lambda: None)
    assert run() == 1
    assert not lies_there(letter)
    assert not Alert.objects.open().exists()


def test_two_runs_at_the_same_files_delete_every_row_once_and_neither_fails(watched):
    gone = letters(2)
    meet = threading.Barrier(2, timeout=10)
    watched(meet.wait)  # both are at the first file, then both at the second
    assert sum(together(run, run)) == 2
    assert not any(lies_there(letter) for letter in gone)
    assert not Notification.objects.exists()
    assert not Alert.objects.filter(kind="retention-failed").exists()


def test_a_letter_somebody_holds_loses_its_file_at_once_and_its_row_at_the_next_run(watched):
    (letter,) = letters()
    begun, ended = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Notification.objects.select_for_update().get(pk=letter.pk)
            begun.set()
            assert ended.wait(10)

    def delete():
        assert begun.wait(10)
        try:
            return run()
        finally:
            ended.set()

    assert together(hold, delete) == [None, 0]
    assert (lies_there(letter), Letter.objects.count()) == (False, 1)
    assert run() == 1
