"""Letters that wait too long for their virus check are said aloud, until none does."""

from datetime import UTC, datetime, timedelta

import pytest

from letters.models import Letter
from letters.tasks import check_precompiled_letter_state as task
from letters.watchdogs import check_precompiled_letter_state
from notify.models import Alert, Notification
from notify.schedule import ROWS
from notify.testing import make_letter, make_notification

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # the clocks went forward half an hour ago
LIMIT, SECOND = timedelta(minutes=90), timedelta(seconds=1)
Status = Notification.Status


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    place = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"letters-scan": place, "letters-pdf": place}


def waiting(age, **fields):
    """Make a letter that has waited for so long."""
    defaults = {"kind": "precompiled", "status": "pending-virus-check", "due_at": NOW, "created_at": NOW - age}
    return make_letter(**(defaults | fields))


def test_waiting_long_means_longer_than_ninety_minutes_since_it_was_made():
    letters = {
        "months": waiting(timedelta(days=200)),
        "just over": waiting(LIMIT + SECOND),
        "exactly at": waiting(LIMIT),
        "just under": waiting(LIMIT - SECOND),
        "nothing left to do for the loop": waiting(LIMIT + SECOND, due_at=None),
        "in somebody's hands": waiting(LIMIT + SECOND, claimed_at=NOW, due_at=NOW + LIMIT),
        "scanned": waiting(LIMIT + SECOND, status="created"),
        "infected": waiting(LIMIT + SECOND, status="virus-scan-failed"),
        "cancelled": waiting(LIMIT + SECOND, status="cancelled"),
        "templated": make_letter(created_at=NOW - LIMIT - SECOND),
    }
    found = list(Letter.objects.unscanned_long(NOW))
    assert [label for label, letter in letters.items() if letter in found] == [
        "months", "just over", "nothing left to do for the loop", "in somebody's hands"
    ]  # fmt: skip
    assert found[0] == letters["months"]


def test_the_limit_is_a_setting(settings):
    waiting(LIMIT)
    settings.LETTER_SCAN_AFTER = LIMIT - SECOND
    assert check_precompiled_letter_state(now=NOW) == 1


def test_one_alert_counts_names_the_oldest_and_says_what_to_do_until_none_waits():
    old = waiting(timedelta(hours=3), last_error="SCANNER: it is away")
    waiting(timedelta(hours=2))
    assert check_precompiled_letter_state(now=NOW) == 2
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.times_seen) == ("letters-pending-virus-check", "letters", 1)
    for words in ("2 letters have", str(old.pk), "28 Mar 2026, 22:30 GMT", "it is away", "letters-scan", "clamd"):
        assert words in alert.message
    assert check_precompiled_letter_state(now=NOW + LIMIT) == 2
    assert Alert.objects.get().times_seen == 2
    Notification.objects.filter(pk=old.pk).delete()
    assert check_precompiled_letter_state(now=NOW) == 1
    assert "1 letter has" in Alert.objects.get().message
    Notification.objects.all().delete()
    assert check_precompiled_letter_state(now=NOW) == 0
    assert not Alert.objects.open().exists()


def test_the_letters_are_left_as_they_are():
    waiting(timedelta(hours=3))
    before = Letter.objects.values().get(), Notification.objects.values().get()
    check_precompiled_letter_state(now=NOW)
    assert (Letter.objects.values().get(), Notification.objects.values().get()) == before


def test_twenty_letters_take_as_many_queries_as_one(django_assert_max_num_queries):
    for _ in range(20):
        waiting(timedelta(hours=3))
    with django_assert_max_num_queries(6):
        assert check_precompiled_letter_state(now=NOW) == 20


def test_the_task_counts_and_runs_on_weekday_mornings_and_afternoons():
    waiting(timedelta(hours=3), created_at=datetime.now(UTC) - timedelta(hours=3))
    make_notification()
    assert task() == {"found": 1}
    row = next(row for row in ROWS if row.task == "letters.check_precompiled_letter_state")
    assert (row.kind, row.crontab) == ("watchdog", "0 9,15 * * mon-fri")


def test_a_dry_run_of_the_watchdog_keeps_nothing(capsys):
    from django.core.management import call_command

    waiting(timedelta(hours=3), created_at=datetime.now(UTC) - timedelta(hours=3))
    call_command("run_watchdog", "letters.check_precompiled_letter_state")
    assert not Alert.objects.exists()
    call_command("run_watchdog", "letters.scan_letters")  # a loop: says what is due
    assert "1" in capsys.readouterr().out
