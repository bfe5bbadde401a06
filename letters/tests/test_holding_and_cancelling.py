"""Letters held back by a person, letters taken back, and what the next run will take."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.files.storage import storages
from django.core.management import call_command

from jobs.cancelling import cancel_job
from letters import files, print_run, scanning
from letters.cancelling import cancel_letters
from letters.forecast import forecast
from letters.holding import hold_letters, release_letters, tell_held
from letters.models import LetterHold, PrintRun
from letters.tests.storages import members, use_folders
from notify.clock import local_date, local_midnight
from notify.models import Alert, Notification
from notify.testing import make_job, make_letter, make_notification, make_service, make_template
from notify.tests.together import together
from providers.models import Pause

pytestmark = pytest.mark.django_db
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
DEADLINE = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def letter(**fields):
    return make_letter(**({"created_at": NOON} | fields))


def status(one):
    return Notification.objects.get(pk=one.pk).status


def test_held_letters_stay_with_an_alert_and_go_after_the_release():
    one = letter()
    service = one.notification.service
    assert hold_letters(service, "a wrong letterhead", by=None, now=NOON)[1]
    assert not hold_letters(service, "again", by=None, now=NOON)[1]
    print_run.tick(clock=lambda: DEADLINE)
    assert not Alert.objects.exists()  # nothing was missed yet
    print_run.tick(clock=lambda: AT)
    print_run.tick(clock=lambda: AT)
    alert = Alert.objects.open().get()
    assert (alert.kind, alert.scope, alert.times_seen) == ("letters-held", f"service {service.pk}", 1)
    assert "1 letter of" in alert.message
    assert "a wrong letterhead" in alert.message
    assert status(one) == "created"
    assert release_letters(service, now=AT)
    assert not release_letters(service, now=AT)
    assert not Alert.objects.open().exists()
    print_run.tick(clock=lambda: AT + timedelta(days=1))
    assert status(one) == "sent"


def test_the_alert_of_a_hold_counts_again_when_more_letters_wait():
    one = letter()
    hold_letters(one.notification.service, "a reason", by=None, now=NOON)
    assert tell_held(now=AT) == 1
    letter(service=one.notification.service)
    assert tell_held(now=AT) == 2
    assert Alert.objects.get().times_seen == 2


def test_letters_are_cancelled_until_the_deadline_of_their_run_and_while_nothing_has_taken_them():
    one = letter()
    assert len(cancel_letters([one.pk], now=DEADLINE)) == 0
    assert len(cancel_letters([one.pk], now=DEADLINE - SECOND)) == 1
    assert len(cancel_letters([one.pk], now=DEADLINE - SECOND)) == 0
    assert status(one) == "cancelled"
    for other in (letter(status="sending"), letter(status="technical-failure"), letter(status="delivered")):
        assert len(cancel_letters([other.pk], now=NOON)) == 0


def test_after_the_deadline_only_tomorrows_and_held_letters_are_cancelled_until_the_run_is_finished():
    today, tomorrow, held = letter(), letter(created_at=DEADLINE), letter()
    LetterHold.objects.create(service=held.notification.service, reason="a reason")
    assert len(cancel_letters([today.pk, tomorrow.pk, held.pk], now=AT)) == 2
    PrintRun.objects.create(day=date(2026, 7, 1), deadline=DEADLINE, finished_at=AT)
    assert len(cancel_letters([today.pk], now=AT)) == 1  # the run left it behind


def test_a_cancelled_letter_is_not_rendered_any_more():
    one = letter(pdf=None)
    cancel_letters([one.pk], now=NOON)
    one.refresh_from_db()
    assert one.due_at is None


def test_after_midnight_a_run_that_is_not_finished_still_keeps_its_letters():
    old, new = letter(created_at=DEADLINE - SECOND), letter(created_at=DEADLINE)
    midnight = local_midnight(local_date(DEADLINE) + timedelta(days=1))
    for now in (midnight, midnight + 60 * SECOND):
        assert cancel_letters([old.pk], now=now) == []
    assert cancel_letters([new.pk], now=midnight) == [new.pk]
    PrintRun.objects.create(day=local_date(DEADLINE), deadline=DEADLINE, finished_at=midnight)
    assert cancel_letters([old.pk], now=midnight) == [old.pk]


def test_a_letter_that_waits_for_its_virus_check_is_cancelled_at_any_time_and_its_file_goes():
    waiting = letter(
        kind="precompiled", status="pending-virus-check", created_at=DEADLINE - SECOND, due_at=DEADLINE + DAY
    )
    assert cancel_letters([waiting.pk], now=AT) == [waiting.pk]
    waiting.refresh_from_db()
    assert (waiting.notification.status, waiting.due_at) == ("cancelled", AT)
    assert storages[files.SCAN].exists(waiting.pdf.name)
    scanning.scan_due(clock=lambda: AT)
    waiting.refresh_from_db()
    assert (waiting.pdf.name, waiting.due_at) == ("", None)
    assert storages[files.SCAN].listdir("")[1] == []
    assert cancel_letters([waiting.pk], now=AT) == []


def test_a_letter_in_a_zip_is_cancelled_by_nobody():
    job = make_job(1, template=make_template(None, "letter"))
    one = letter(notification=make_notification(job, created_at=NOON))
    print_run.collate(clock=lambda: AT)
    Notification.objects.update(status="created")  # as between the packing and the end of the upload
    assert len(cancel_letters([one.pk], now=NOON)) == 0
    assert cancel_job(job.pk, now=NOON) == 0
    assert status(one) == "created"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_cancelling_and_collating_at_once_each_letter_is_cancelled_or_printed_never_both(folder, settings, attempt):
    settings.LETTER_ZIP_FILES_LIMIT = 5
    job = make_job(20, template=make_template(None, "letter"))
    letters = [letter(notification=make_notification(job, number, created_at=NOON)) for number in range(20)]

    def collate():
        with suppress(print_run.Busy):
            print_run.collate(clock=lambda: AT)

    together(collate, lambda: cancel_job(job.pk, now=AT), lambda: cancel_letters([one.pk for one in letters], now=NOON))
    printed, now = set(members(folder)), dict(Notification.objects.values_list("pk", "status"))
    assert {str(pk) for pk, word in now.items() if word == "sent"} == printed
    assert {str(pk) for pk, word in now.items() if word == "cancelled"} == {str(one.pk) for one in letters} - printed


def some_letters():
    held = make_service()
    LetterHold.objects.create(service=held, reason="a reason")
    letter()
    letter()
    letter(pdf=None)
    make_notification(notification_type="letter", created_at=NOON)
    letter(service=held)
    letter(service=make_service(active=False))
    letter(status="pending-virus-check", kind="precompiled")
    letter(kind="precompiled", scan_verdict="clean", scanned_sha256="0" * 64)
    letter(status="sending")
    letter(created_at=DEADLINE)


def test_the_forecast_counts_each_letter_once_with_its_reason():
    some_letters()
    seen = forecast(now=NOON)
    assert (seen.day, seen.deadline, seen.goes, seen.left, seen.paused) == (date(2026, 7, 1), DEADLINE, 2, 7, False)
    assert {part.reason: part.count for part in seen.stays} == {
        "late": 1, "scan": 1, "off": 1, "held": 1, "no pdf": 2, "other": 1
    }  # fmt: skip
    print_run.collate(clock=lambda: AT)
    tomorrow = forecast(now=AT)
    assert (tomorrow.day, tomorrow.goes) == (date(2026, 7, 2), 1)


def test_what_the_forecast_promises_is_what_the_run_takes():
    some_letters()
    promised = forecast(now=NOON).goes
    assert print_run.collate(clock=lambda: AT)["letters"] == promised


@pytest.mark.time_machine(NOON, tick=False)
def test_the_command_names_reasons_and_letters():
    one = letter(pdf=None)
    Pause.objects.create(reason="a test")
    out = StringIO()
    call_command("letters_forecast", stdout=out)
    assert out.getvalue().splitlines() == [
        "Print run of Wednesday 1 July 2026, deadline 17:30 BST",
        "  0 go as things stand",
        "  but all sending is paused: no letter goes before that ends",
        "  1 does not: no PDF yet (oldest 01 Jul 2026, 12:00 BST)",
        f"    {one.pk}",
    ]
