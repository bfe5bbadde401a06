"""The admin around the print run: progress, forecast, holds, bank holidays, and what is done with chosen letters."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from letters import admin_print_run, panels, print_run
from letters.models import BankHoliday, Letter, LetterHold, PrintFile, PrintRun
from letters.tests.storages import use_folders
from notify.alerts import raise_alert
from notify.models import Alert, Notification
from notify.testing import make_letter, make_provider, make_service

NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
pytestmark = [pytest.mark.django_db, pytest.mark.time_machine(NOON, tick=False)]
RUNS, LETTERS, HOLDS = (f"/admin/letters/{name}/" for name in ("printrun", "letter", "letterhold"))


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def text(answer):
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def printed(**fields):
    make_provider("postal")
    one = make_letter(created_at=NOON - timedelta(hours=1), **fields)
    print_run.collate(clock=lambda: AT)
    return one


def test_the_list_of_runs_says_what_the_next_one_takes(admin_client):
    make_letter()
    make_letter(pdf=None)
    shown = text(admin_client.get(RUNS))
    assert "Next: Wednesday 1 July, deadline 1 Jul 2026, 17:30 BST" in shown
    assert "<strong>1</strong> goes as things stand" in shown
    assert "<strong>1</strong> does not: no PDF yet" in shown
    assert "No print run yet" in shown


def test_a_run_shows_its_zips_its_progress_and_what_it_left_out(admin_client):
    one = printed(pages=3)
    file = PrintFile.objects.get()
    page = reverse("admin:letters_printrun_change", args=[file.print_run_id])
    shown = text(admin_client.get(page))
    assert "1 letter on 2 sheets of paper in 1 zip handed over" in shown
    assert "Not acknowledged yet" in shown
    assert reverse("admin:letters_printfile_change", args=[file.pk]) in shown
    assert f"{LETTERS}?print_file__id__exact={file.pk}" in shown
    assert str(one.pk) in text(admin_client.get(LETTERS, {"print_file__id__exact": file.pk}))
    PrintFile.objects.update(uploaded_at=None)
    PrintRun.objects.update(finished_at=None)
    shown = text(admin_client.get(page))
    assert "0 of 1 zip handed over" in shown
    assert '<progress max="1" value="0">' in shown
    assert "Being packed" in shown


def test_the_list_of_runs_takes_as_many_queries_for_twenty_as_for_one(admin_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(RUNS).status_code == 200
        return len(queries)

    PrintRun.objects.create(day=date(2026, 1, 1), deadline=NOON)
    one = count()
    for back in range(19):
        PrintRun.objects.create(day=date(2025, 12, 31) - timedelta(days=back), deadline=NOON)
    assert count() == one


def test_the_overview_counts_what_goes_and_what_does_not():
    make_letter()
    make_letter(pdf=None)
    assert [(fact.count, fact.label) for fact in panels.run()] == [
        (1, "letter ready for 1 Jul, 17:30"), (1, "letter not ready for it"),
    ]  # fmt: skip


def test_after_midnight_yesterdays_unfinished_run_is_said_with_its_letters(admin_client):
    old = make_letter(created_at=NOON - timedelta(days=1))
    make_letter()
    shown = text(admin_client.get(RUNS))
    assert f"The run of Tuesday 30 June is unfinished: it takes 1 letter first (the first: {old.pk})" in shown
    assert "Next: Wednesday 1 July" in shown
    assert "<strong>1</strong> goes as things stand" in shown
    assert [(fact.count, fact.label) for fact in panels.run()] == [
        (1, "letter ready for 1 Jul, 17:30"), (1, "letter of the unfinished run of 30 Jun"),
    ]  # fmt: skip
    out = StringIO()
    call_command("letters_forecast", stdout=out)
    assert out.getvalue().splitlines()[:2] == [
        "The print run of Tuesday 30 June 2026 is unfinished; letters it takes first: 1", f"    {old.pk}",
    ]  # fmt: skip
    print_run.collate(clock=lambda: NOON)
    assert "is unfinished" not in text(admin_client.get(RUNS))


def test_a_service_is_held_and_released_with_both_in_its_log(admin_client, admin_user):
    service = make_service()
    make_letter(service=service)
    form = {"service": str(service.pk), "reason": "a wrong letterhead"}
    assert admin_client.post(f"{HOLDS}add/", form).status_code == 302
    hold = LetterHold.objects.get()
    assert (hold.service, hold.reason, hold.held_by, hold.created_at) == (service, form["reason"], admin_user, NOON)
    shown = text(admin_client.get(HOLDS))
    assert "a wrong letterhead" in shown
    assert "already exists" in text(admin_client.post(f"{HOLDS}add/", form))
    admin_client.post(HOLDS, {"action": "release", "_selected_action": [hold.pk]})
    assert not LetterHold.objects.exists()
    entries = LogEntry.objects.filter(object_id=str(service.pk)).order_by("pk").values_list("change_message", flat=True)
    assert list(entries) == [
        "Letters held: a wrong letterhead", "Letters released; they were held: a wrong letterhead",
    ]  # fmt: skip


def test_a_hold_that_somebody_else_made_meanwhile_stays_and_is_said(admin_client, monkeypatch):
    service = make_service()
    real = admin_print_run.hold_letters

    def late(*args, **kwargs):
        LetterHold.objects.create(service=service, reason="the first reason")
        return real(*args, **kwargs)

    monkeypatch.setattr(admin_print_run, "hold_letters", late)
    form = {"service": str(service.pk), "reason": "the second reason"}
    assert "that reason stays: the first reason" in text(admin_client.post(f"{HOLDS}add/", form, follow=True))
    assert not LogEntry.objects.filter(change_message__contains="second").exists()


def test_letters_are_cancelled_after_the_question_and_once(admin_client):
    one, sent = make_letter(created_at=NOON), make_letter(status="sending")
    chosen = {"action": "cancel_chosen", "_selected_action": [str(one.pk), str(sent.pk)]}
    question = text(admin_client.post(LETTERS, chosen))
    assert "Cancel 2 letters?" in question
    assert Notification.objects.get(pk=one.pk).status == "created"
    answer = text(admin_client.post(LETTERS, chosen | {"confirmed": "yes"}, follow=True))
    assert "1 letter cancelled. 1 left as they are" in answer
    assert Notification.objects.get(pk=one.pk).status == "cancelled"
    assert Notification.objects.get(pk=sent.pk).status == "sending"
    assert LogEntry.objects.get().object_id == str(one.pk)
    assert "0 letters cancelled" in text(admin_client.post(LETTERS, chosen | {"confirmed": "yes"}, follow=True))
    assert LogEntry.objects.count() == 1


def test_failures_are_marked_as_seen_once(admin_client):
    failed, other = make_letter(status="technical-failure"), make_letter()
    chosen = {"action": "mark_failures_seen", "_selected_action": [str(failed.pk), str(other.pk)]}
    raise_alert("letters-failed", "letters", "x", now=NOON)
    assert "1 letter marked as seen. 1 left" in text(admin_client.post(LETTERS, chosen, follow=True))
    assert Letter.objects.get(pk=failed.pk).failure_seen_at == NOON
    assert not Alert.objects.open().exists()  # at once, not at the next morning's check
    assert Letter.objects.get(pk=other.pk).failure_seen_at is None
    assert "0 letters marked" in text(admin_client.post(LETTERS, chosen, follow=True))


def test_who_may_only_look_does_nothing_with_letters(client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    names = ["view_letter", "view_letterhold", "view_bankholiday"]
    viewer.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(viewer)
    one = make_letter()
    hold = LetterHold.objects.create(service=one.notification.service, reason="a reason")
    for page, action, pk in ((LETTERS, "cancel_chosen", one.pk), (HOLDS, "release", hold.pk)):
        assert action not in text(client.get(page))
        client.post(page, {"action": action, "_selected_action": [str(pk)], "confirmed": "yes"})
    assert client.post(f"{HOLDS}add/", {}).status_code == 403
    assert Notification.objects.get().status == "created"
    assert LetterHold.objects.exists()


def test_a_bank_holiday_is_added_once_and_taken_back(admin_client):
    page = "/admin/letters/bankholiday/"
    form = {"day": "2026-07-01", "name": "a royal wedding"}
    assert admin_client.post(f"{page}add/", form).status_code == 302
    assert "already exists" in text(admin_client.post(f"{page}add/", form))
    day = BankHoliday.objects.get()
    assert admin_client.post(f"{page}{day.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not BankHoliday.objects.exists()
