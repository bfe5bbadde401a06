"""The checks of letters: what is still created, still sending, not acknowledged, or failed unseen."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

from letters import watchdogs
from letters.models import BankHoliday, Letter, LetterHold, PrintFile, PrintRun
from letters.tests.storages import use_folders
from letters.working_days import is_working_day, working_days_ago
from notify.alerts import raise_alert
from notify.clock import at_local, local_midnight
from notify.models import Alert
from notify.testing import make_letter, make_notification, make_provider, make_service

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
NINE = datetime(2026, 7, 2, 8, tzinfo=UTC)  # 09:00 BST on a Thursday
HALF_FIVE_YESTERDAY = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
HALF_FOUR = datetime(2018, 1, 15, 16, 30, tzinfo=UTC).time()


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def alerts():
    return {alert.kind: alert.message for alert in Alert.objects.open()}


def test_not_printed_means_created_and_made_before_the_deadline_of_yesterday():
    make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND)
    make_letter(created_at=HALF_FIVE_YESTERDAY)
    make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND, status="sending")
    make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND, status="pending-virus-check")
    make_notification(created_at=HALF_FIVE_YESTERDAY - SECOND)  # an SMS
    assert watchdogs.check_templated_letter_state(now=NINE) == {"found": 1, "failed": 0}


@pytest.mark.parametrize(
    ("now", "edge"),
    [
        # The deadline of the day before, in that day's own clock: GMT before and BST after the change of spring.
        (datetime(2026, 3, 29, 8, tzinfo=UTC), datetime(2026, 3, 28, 17, 30, tzinfo=UTC)),
        (datetime(2026, 3, 30, 8, tzinfo=UTC), datetime(2026, 3, 29, 16, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 9, tzinfo=UTC), datetime(2026, 10, 24, 16, 30, tzinfo=UTC)),
        (datetime(2026, 10, 26, 9, tzinfo=UTC), datetime(2026, 10, 25, 17, 30, tzinfo=UTC)),
    ],
)
def test_the_deadline_is_local_on_the_days_the_clocks_change(now, edge):
    make_letter(created_at=edge)
    assert watchdogs.check_templated_letter_state(now=now)["found"] == 0
    make_letter(created_at=edge - SECOND)
    assert watchdogs.check_templated_letter_state(now=now)["found"] == 1


def test_the_alert_says_how_many_since_when_where_the_files_lie_and_closes_by_itself(folder):
    old = HALF_FIVE_YESTERDAY - timedelta(days=3)
    held = make_service()
    LetterHold.objects.create(service=held, reason="a wrong letterhead")
    make_letter(created_at=old)
    make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND, pdf=None)
    lost = make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND, service=held)
    (folder / "letters-pdf" / lost.pdf.name).unlink()
    make_notification(notification_type="letter", created_at=HALF_FIVE_YESTERDAY - SECOND)  # no letter row at all
    watchdogs.check_templated_letter_state(now=NINE)
    words = alerts()["letters-not-printed"]
    for part in ("4 letters made before 17:30 on Wednesday 1 July", "28 Jun 2026, 17:30 BST", "1 held by hand",
                 "2 without a PDF yet", "1 in the storage letters-pdf", "1 in none of the storages"):  # fmt: skip
        assert part in words
    Letter.objects.all().delete()
    type(lost.notification).objects.all().delete()
    watchdogs.check_templated_letter_state(now=NINE)
    assert alerts() == {}


def test_failures_are_named_until_a_person_has_seen_them():
    failed = make_letter(status="technical-failure")
    make_letter(status="technical-failure", failure_seen_at=NINE)
    assert watchdogs.check_templated_letter_state(now=NINE)["failed"] == 1
    assert str(failed.pk) in alerts()["letters-failed"]
    assert alerts()["letters-failed"].startswith("1 letter ended")
    watchdogs.check_templated_letter_state(now=NINE + timedelta(days=1))
    assert Alert.objects.get().times_seen == 2
    Letter.objects.update(failure_seen_at=timezone.now())
    assert watchdogs.check_templated_letter_state(now=NINE)["failed"] == 0
    assert alerts() == {}


def test_the_alert_of_a_template_closes_when_a_person_has_seen_its_letters():
    template, other = (make_letter(status="technical-failure", pdf=None).notification.template_id for _ in range(2))
    make_letter(status="technical-failure")  # one that has its PDF failed otherwise
    for scope in (f"template {template}", f"template {other}", "letters-pdf", "template 0"):
        raise_alert("letter-not-rendered", scope, "", now=NINE)
    seen = Letter.objects.filter(notification__template_id=template)
    for left in (["letters-pdf", f"template {other}", f"template {template}"], ["letters-pdf", f"template {other}"]):
        watchdogs.check_templated_letter_state(now=NINE)
        scopes = Alert.objects.open().filter(kind="letter-not-rendered").values_list("scope", flat=True)
        assert sorted(scopes) == sorted(left)
        seen.update(failure_seen_at=NINE)


def test_twenty_letters_cost_no_more_queries_than_one(django_assert_max_num_queries):
    for _ in range(20):
        make_letter(created_at=HALF_FIVE_YESTERDAY - SECOND)
        make_letter(status="technical-failure")
    with django_assert_max_num_queries(20):
        watchdogs.check_templated_letter_state(now=NINE)


@pytest.mark.parametrize(
    ("today", "back", "cut_off"),
    [
        (date(2018, 1, 15), 4, date(2018, 1, 11)),  # Monday → Thursday
        (date(2018, 1, 16), 4, date(2018, 1, 12)),  # Tuesday → Friday
        (date(2018, 1, 17), 2, date(2018, 1, 15)),  # Wednesday → Monday
        (date(2018, 1, 18), 2, date(2018, 1, 16)),
        (date(2018, 1, 19), 2, date(2018, 1, 17)),
    ],
)
def test_two_working_days_ago_is_four_days_back_early_in_the_week_and_two_later(today, back, cut_off):
    assert is_working_day(today)
    assert working_days_ago(today, 2) == cut_off == today - timedelta(days=back)


def test_bank_holidays_count_as_weekend_and_an_operator_has_the_last_word():
    monday, tuesday = date(2026, 5, 4), date(2026, 5, 5)  # the early May bank holiday and the day after
    assert not is_working_day(monday)
    assert working_days_ago(tuesday, 2) == date(2026, 4, 30)
    BankHoliday.objects.create(day=monday, name="worked this year", working_day=True)
    assert is_working_day(monday)
    assert working_days_ago(tuesday, 2) == date(2026, 5, 1)
    BankHoliday.objects.create(day=date(2026, 5, 1), name="a royal wedding")
    assert working_days_ago(tuesday, 2) == date(2026, 4, 30)


def test_christmas_of_england_and_no_calendar_at_all(settings):
    assert working_days_ago(date(2025, 12, 29), 2) == date(2025, 12, 23)
    settings.BANK_HOLIDAYS = "GB-SCT"
    assert not is_working_day(date(2026, 1, 2))
    settings.BANK_HOLIDAYS = ""
    assert is_working_day(date(2025, 12, 25))


def test_a_calendar_without_working_days_is_an_error_that_names_it():
    for back in range(70):
        BankHoliday.objects.create(day=date(2026, 7, 1) - timedelta(days=back), name="closed")
    with pytest.raises(ValueError, match="bank holidays"):
        working_days_ago(date(2026, 7, 1), 2)


def sending(sent_at, **fields):
    return make_letter(status="sending", sent_at=sent_at, **fields)


def test_still_sending_names_the_day_and_counts_letters_of_that_day_or_earlier():
    monday = at_local(date(2018, 1, 15), HALF_FOUR)
    friday = local_midnight(date(2018, 1, 12))
    sending(friday)
    assert watchdogs.check_still_sending(now=monday) == 0
    sending(friday - SECOND)
    sending(friday - timedelta(days=40))
    make_letter(status="delivered", sent_at=friday - SECOND)
    make_letter(status="sent", sent_at=friday - SECOND)
    assert watchdogs.check_still_sending(now=monday) == 2
    assert alerts()["letters-still-sending"].startswith("2 letters in the 'sending' state from Thursday 11 January (")


def test_of_one_letter_the_alert_speaks_of_one():
    sending(datetime(2018, 1, 11, 18, tzinfo=UTC))
    watchdogs.check_still_sending(now=at_local(date(2018, 1, 15), HALF_FOUR))
    assert alerts()["letters-still-sending"].startswith("1 letter in the 'sending' state from Thursday 11 January")


@pytest.mark.parametrize(
    ("today", "edge"),
    [
        (date(2026, 3, 31), datetime(2026, 3, 28, 0, tzinfo=UTC)),  # Tuesday after the clocks went forward: Friday
        (date(2026, 4, 1), datetime(2026, 3, 30, 23, tzinfo=UTC)),  # the Tuesday begins at 23:00 UTC
        (date(2026, 10, 27), datetime(2026, 10, 23, 23, tzinfo=UTC)),  # and in autumn the Saturday still does
        (date(2026, 10, 28), datetime(2026, 10, 27, 0, tzinfo=UTC)),
    ],
)
def test_the_sent_date_is_local_around_the_days_the_clocks_change(today, edge):
    now = at_local(today, HALF_FOUR)
    sending(edge)
    assert watchdogs.check_still_sending(now=now) == 0
    sending(edge - SECOND)
    assert watchdogs.check_still_sending(now=now) == 1


def test_on_weekends_and_bank_holidays_nothing_is_said_and_nothing_closed():
    sending(datetime(2026, 4, 20, tzinfo=UTC))
    for day in (date(2026, 5, 2), date(2026, 5, 3), date(2026, 5, 4)):
        assert watchdogs.check_still_sending(now=at_local(day, HALF_FOUR)) == 0
    assert alerts() == {}
    assert watchdogs.check_still_sending(now=at_local(date(2026, 5, 5), HALF_FOUR)) == 1
    watchdogs.check_still_sending(now=at_local(date(2026, 5, 9), HALF_FOUR))
    assert set(alerts()) == {"letters-still-sending"}
    Letter.objects.all().delete()
    make_letter().notification.__class__.objects.filter(status="sending").delete()
    watchdogs.check_still_sending(now=at_local(date(2026, 5, 11), HALF_FOUR))
    assert alerts() == {}


def test_a_provider_without_receipts_is_left_out_of_still_sending():
    make_provider("postal", receipts=False)
    sending(datetime(2026, 4, 20, tzinfo=UTC), provider_name="postal")
    assert watchdogs.check_still_sending(now=at_local(date(2026, 5, 5), HALF_FOUR)) == 0


def make_file(sequence=1, **fields):
    run, _ = PrintRun.objects.get_or_create(day=date(2026, 7, 1), defaults={"deadline": HALF_FIVE_YESTERDAY})
    values = {"name": f"{sequence}.zip", "sha256": "0" * 64, "size": 1, "letter_count": 1, "uploaded_at": NINE}
    return PrintFile.objects.create(print_run=run, sequence=sequence, **(values | fields))


def test_zips_that_are_not_acknowledged_are_named_until_they_are():
    make_provider("postal")
    waiting = make_file(1)
    make_file(2, acknowledged_at=NINE)
    make_file(3, uploaded_at=None)
    make_file(4, acknowledgeable=False)
    assert watchdogs.check_print_files_acknowledged(now=NINE) == 1
    assert "1 zip was handed to the postal provider" in alerts()["print-files-unacknowledged"]
    assert "1.zip" in alerts()["print-files-unacknowledged"]
    PrintFile.objects.filter(pk=waiting.pk).update(acknowledged_at=NINE)
    assert watchdogs.check_print_files_acknowledged(now=NINE) == 0
    assert alerts() == {}


@pytest.mark.parametrize("provider", [None, {"receipts": False}])
def test_without_receipts_no_acknowledgement_is_missed(provider):
    if provider:
        make_provider("postal", **provider)
    make_file()
    assert watchdogs.check_print_files_acknowledged(now=NINE) == 0
    assert alerts() == {}
