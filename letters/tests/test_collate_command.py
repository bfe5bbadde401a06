"""`collate_letters --day`, the periodic task and the dry run of the print run."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from letters import postal, tasks
from letters.models import PrintRun
from letters.print_run import LOCK, due
from letters.tests.storages import use_folders, zips
from notify.loops import slot
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_letter
from notify.tests.together import together
from providers.models import Pause

NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
pytestmark = [pytest.mark.django_db, pytest.mark.time_machine(AT, tick=False)]


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def collate(*arguments):
    out = StringIO()
    call_command("collate_letters", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        collate(*arguments)
    assert not PrintRun.objects.exists()
    return caught.value.returncode, str(caught.value)


@pytest.mark.parametrize(
    ("day", "words"),
    [
        ("2026-02-30", "is no date"),
        ("2026-13-01", "is no date"),
        ("tomorrow", "is no date"),
        ("20260701", "is no date"),
        ("", "is no date"),
        ("٢٠٢٦-٠٧-٠١", "is no date"),
        ("2026-07-02", "not due yet: the newest day whose letters may be collated is 2026-07-01"),
        ("9999-12-31", "not due yet"),
        ("2015-12-31", "nothing was sent then"),
    ],
)
def test_a_day_that_cannot_be_is_refused_with_status_2_and_what_to_write(day, words):
    returncode, said = refused("--day", day)
    assert returncode == 2
    assert words in said
    assert "2026-" in said or "2016" in said


def test_the_day_is_never_guessed():
    with pytest.raises(CommandError, match="--day"):
        collate()


@pytest.mark.time_machine(AT - timedelta(seconds=1), tick=False)
def test_today_is_refused_until_its_time_has_come():
    assert (
        "not due yet: the newest day whose letters may be collated is 2026-06-30" in refused("--day", "2026-07-01")[1]
    )


def test_it_hands_over_the_letters_of_the_day_once(folder):
    make_letter(created_at=NOON)
    make_letter(created_at=NOON + timedelta(hours=12))
    assert collate("--day", "2026-07-01") == "Letters handed over: 1, in zips: 1.\n"
    assert "was finished 01 Jul 2026, 17:50 BST; letters: 1. Nothing was done" in collate("--day", "2026-07-01")
    assert len(zips(folder)) == 1


def test_a_missed_day_may_be_run_by_hand(folder):
    make_letter(created_at=NOON - timedelta(days=3))
    make_letter(created_at=NOON)
    assert collate("--day", "2026-06-29").startswith("Letters handed over: 1, in zips: 1")


@pytest.mark.django_db(transaction=True)
def test_while_another_process_collates_it_ends_with_status_3():
    def try_it():
        return refused("--day", "2026-07-01")

    with slot(LOCK, places=1):
        assert together(try_it)[0][0] == 3


def test_while_sending_is_paused_it_ends_with_status_3():
    Pause.objects.create(reason="a test")
    assert refused("--day", "2026-07-01")[0] == 3


def test_a_storage_error_ends_it_with_what_to_do_and_no_traceback(monkeypatch):
    make_letter(created_at=NOON)

    def broken(*args):
        raise OSError("no space left")

    monkeypatch.setattr(postal, "put_whole", broken)
    with pytest.raises(CommandError, match=r"goes on with it, or: manage\.py collate_letters --day 2026-07-01"):
        collate("--day", "2026-07-01")
    assert Alert.objects.get().kind == "print-run-failed"


def test_the_task_collates_and_wakes_the_callbacks(django_capture_on_commit_callbacks):
    one = make_letter(created_at=NOON)
    make_endpoint(one.notification.service)
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.collate_letter_pdfs_for_day() == {
            "letters": 1, "zips": 1, "unfinished": 0, "acknowledged": 0, "unreadable": 0
        }  # fmt: skip
    assert len(woken) == 1
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.collate_letter_pdfs_for_day()["letters"] == 0
    assert woken == []
    assert Notification.objects.get().status == "sent"


def test_the_dry_run_says_what_is_due_and_nothing_once_it_is_done():
    one = make_letter(created_at=NOON)
    make_letter(created_at=AT)
    out = StringIO()
    call_command("run_watchdog", "letters.collate_letter_pdfs_for_day", stdout=out)
    assert out.getvalue().splitlines()[:2] == [
        "letters.collate_letter_pdfs_for_day: 1 due, the oldest since 01 Jul 2026, 12:00 BST",
        f"  {one.pk}",
    ]
    assert not PrintRun.objects.exists()
    collate("--day", "2026-07-01")
    assert due(now=AT).count == 0


@pytest.mark.parametrize(
    "name",
    [
        "letters.check_templated_letter_state",
        "letters.raise_alert_if_letter_notifications_still_sending",
        "letters.check_print_files_acknowledged",
    ],
)
def test_the_dry_run_of_a_check_shows_its_alert_and_writes_nothing(name):
    make_letter(created_at=NOON - timedelta(days=30))
    make_letter(status="sending", sent_at=NOON - timedelta(days=30))
    make_letter(status="technical-failure")
    out = StringIO()
    call_command("run_watchdog", name, stdout=out)
    assert "Nothing was changed" in out.getvalue()
    assert ("alert letters-" in out.getvalue()) == (name != "letters.check_print_files_acknowledged")
    assert not Alert.objects.exists()


def test_a_day_without_letters_ends_well_with_nothing_handed_over():
    assert collate("--day", "2025-12-31") == "Letters handed over: 0, in zips: 0.\n"
