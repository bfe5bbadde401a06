"""A PDF that cannot be read leaves its letter out of the run, and nothing else; a storage that is away stops it."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from letters import postal, print_run, reading
from letters.models import Letter, PrintFile, PrintRun
from letters.tests.print_runs import spoil
from letters.tests.storages import members, use_folders
from notify.models import Alert, Notification
from notify.testing import make_letter, make_service

pytestmark = pytest.mark.django_db
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def letters_of_one_service(count):
    service = make_service()
    return [make_letter(service=service, created_at=NOON) for _ in range(count)]


def run(now=AT):
    return print_run.collate(clock=lambda: now)


def statuses():
    return dict(Notification.objects.values_list("pk", "status"))


def test_one_unreadable_pdf_leaves_its_letter_out_and_the_others_go(folder):
    good, bad, last = letters_of_one_service(3)
    mend = spoil(folder, bad)
    assert run() == {"letters": 2, "zips": 1, "unfinished": 0}
    assert statuses() == {good.pk: "sent", bad.pk: "created", last.pk: "sent"}
    assert (PrintRun.objects.get().letter_count, PrintRun.objects.get().finished_at) == (2, AT)
    alert = Alert.objects.open().get()
    assert (alert.kind, str(bad.pk) in alert.message) == ("letter-file-unreadable", True)
    assert alert.message.startswith("1 letter was left out")
    assert Letter.objects.get(pk=bad.pk).last_error == "its PDF could not be read (OSError)"
    print_run.tick(clock=lambda: AT)
    assert Alert.objects.open().get().times_seen == 1
    mend()
    run(AT + DAY)
    assert statuses()[bad.pk] == "sent"
    assert set(members(folder).values()) == {1}
    assert not Alert.objects.open().exists()
    assert not Letter.objects.filter(unreadable_at__isnull=False).exists()


def test_the_alert_closes_when_the_letter_ended(folder):
    (bad,) = letters_of_one_service(1)
    spoil(folder, bad)
    run()
    Notification.objects.update(status="cancelled")
    print_run.tick(clock=lambda: AT)
    assert not Alert.objects.open().exists()


def test_a_moments_failure_costs_nobody_a_day(folder, monkeypatch):
    letters = letters_of_one_service(3)
    real, failed = reading.read_pdf, []

    def shaky(letter, *args):
        if letter == letters[1] and not failed:
            failed.append(letter)
            raise reading.UnreadableFile("OSError")
        return real(letter, *args)

    monkeypatch.setattr(reading, "read_pdf", shaky)
    assert run()["letters"] == 3
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert not Alert.objects.exists()


@pytest.mark.parametrize(("unreadable", "stopped"), [(9, False), (10, True)])
def test_ten_in_a_row_are_a_storage_that_is_away(folder, unreadable, stopped):
    letters = letters_of_one_service(12)
    mends = [spoil(folder, one) for one in letters[:unreadable]]
    if stopped:
        with pytest.raises(reading.StorageAway):
            run()
        assert set(statuses().values()) == {"created"}
        assert not PrintFile.objects.exists()
        assert Alert.objects.open().get().kind == "print-run-failed"
        [mend() for mend in mends]
        assert run()["letters"] == 12
        assert not Alert.objects.open().exists()
    else:
        assert run()["letters"] == 12 - unreadable
        assert PrintRun.objects.get().finished_at == AT


def test_letters_left_out_before_do_not_make_a_later_run_think_the_storage_away(folder):
    letters = letters_of_one_service(9)
    [spoil(folder, one) for one in letters]
    run()
    spoil(folder, make_letter(service=letters[0].notification.service, created_at=NOON + DAY))
    good = make_letter(service=letters[0].notification.service, created_at=NOON + DAY)
    assert run(AT + DAY)["letters"] == 1
    assert statuses()[good.pk] == "sent"
    assert Alert.objects.open().get().message.startswith("10 letters were left out")


def test_a_storage_that_cannot_be_listed_is_away_however_few_wait(folder):
    (one,) = letters_of_one_service(1)
    (folder / "letters-pdf").rename(folder / "elsewhere")
    (folder / "letters-pdf").symlink_to("letters-pdf")
    with pytest.raises(reading.StorageAway):
        run()
    (folder / "letters-pdf").unlink()
    (folder / "elsewhere").rename(folder / "letters-pdf")
    run()
    assert statuses()[one.pk] == "sent"


@pytest.mark.parametrize("mended", [True, False])
def test_a_zip_that_may_have_gone_waits_whole_and_its_run_with_it_but_nothing_else(folder, monkeypatch, mended):
    letters = letters_of_one_service(3)
    with monkeypatch.context() as patch:
        patch.setattr(postal, "put_whole", lambda *args: 1 / 0)
        with suppress(ZeroDivisionError):
            run()
    file = PrintFile.objects.get()
    mend = spoil(folder, letters[1])
    other = make_letter(created_at=NOON)
    assert run() == {"letters": 1, "zips": 1, "unfinished": 0}
    assert statuses() == {one.pk: "created" for one in letters} | {other.pk: "sent"}
    assert PrintRun.objects.get().finished_at is None
    assert file.name in Alert.objects.open().get(kind="letter-file-unreadable").message
    next_day = make_letter(created_at=NOON + DAY)
    run(AT + DAY)
    assert statuses()[next_day.pk] == "sent"
    if mended:
        mend()
    else:
        (folder / "letters-pdf" / letters[1].pdf.name).unlink()
    run(AT + DAY)
    assert not PrintRun.objects.filter(finished_at=None).exists()
    assert not Alert.objects.open().filter(kind="letter-file-unreadable").exists()
    if mended:
        assert hashlib.sha256((folder / "postal" / file.name).read_bytes()).hexdigest() == file.sha256
    gone = {letters[1]} if not mended else set()
    assert members(folder) == {str(one.pk): 1 for one in {*letters, other, next_day} - gone}
