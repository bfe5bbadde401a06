"""The forecast of the next print run: also what earlier runs left behind, packed or not."""

from contextlib import suppress
from datetime import date, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from letters import panels
from letters.forecast import forecast
from letters.models import Letter, LetterHold, PrintRun
from letters.tests import print_runs
from letters.tests.print_runs import AT, DAY, NOON, Killed, kill_at, letter, run, spoil
from notify.testing import make_service

pytestmark = pytest.mark.django_db
folder = print_runs.folder
A_DAY = timedelta(days=1)
EVENING, MORNING = AT + timedelta(minutes=5), NOON + 2 * A_DAY


def said(now):
    """Return what is promised for a moment, every letter once."""
    seen = forecast(now=now)
    first = {part.reason: part.count for part in (seen.overdue, seen.packed) if part}
    return {"goes": seen.goes} | first | {part.reason: part.count for part in seen.stays}


def command_at(moment, time_machine):
    time_machine.move_to(moment, tick=False)
    out = StringIO()
    call_command("letters_forecast", stdout=out)
    return out.getvalue().splitlines()


def cut_off(monkeypatch, step, now=AT):
    """Have a worker die at a step of the run."""
    with monkeypatch.context() as patch, suppress(Killed):
        kill_at(patch, step, 1)
        run(now)


def test_a_letter_whose_pdf_could_not_be_read_is_not_promised_until_a_run_has_read_it(folder):
    service = make_service()
    bad, _ = letter(service=service), letter(service=service)
    assert said(NOON) == {"goes": 2}
    mend = spoil(folder, bad)
    run()
    assert said(EVENING) == {"goes": 0, "unreadable": 1}
    assert forecast(now=EVENING).stays[0].keys == (str(bad.pk),)
    LetterHold.objects.create(service=service, reason="a reason")
    assert said(EVENING) == {"goes": 0, "held": 1}
    LetterHold.objects.all().delete()
    mend()
    assert run(AT + A_DAY)["letters"] == 1
    assert said(AT + A_DAY) == {"goes": 0}


def test_letters_in_a_zip_that_was_not_handed_over_go_before_all_others(monkeypatch, time_machine):
    packed = letter()
    cut_off(monkeypatch, "before the upload")
    letter()
    assert said(EVENING) == {"goes": 1, "packed": 1}
    assert command_at(EVENING, time_machine) == [
        "Print run of Wednesday 1 July 2026, deadline 17:30 BST (passed; the run is not finished)",
        "  1 goes as things stand",
        "  1 before all others: packed in zips that are not handed over yet",
        f"    {packed.pk}",
    ]
    assert [(fact.count, fact.label) for fact in panels.run()] == [
        (1, "letter ready for 1 Jul, 17:30"), (1, "letter in zips not handed over yet"),
    ]  # fmt: skip
    assert run(EVENING)["letters"] == 2
    assert said(EVENING) == {"goes": 0}


def test_a_zip_that_waits_for_an_unreadable_pdf_is_not_promised_with_any_of_its_letters(folder, monkeypatch):
    service = make_service()
    bad, _ = letter(service=service), letter(service=service)
    cut_off(monkeypatch, "before the upload")
    mend = spoil(folder, bad)
    letter()
    assert said(EVENING) == {"goes": 1, "packed": 2}  # nobody has tried to read it since
    run(EVENING)
    assert said(EVENING) == {"goes": 0, "stuck": 2}
    mend()
    assert run(EVENING)["letters"] == 2
    assert said(EVENING) == {"goes": 0}


def test_runs_that_were_cut_off_or_missed_are_named_with_what_they_take_first(monkeypatch, time_machine, admin_client):
    for _ in range(2):
        letter()
    cut_off(monkeypatch, "after assigning")
    waits = Letter.objects.get(print_file=None).pk, letter(created_at=NOON + A_DAY).pk
    letter(created_at=MORNING)
    seen = forecast(now=MORNING)
    assert seen.unfinished == (DAY, DAY + A_DAY)
    assert said(MORNING) == {"goes": 1, "overdue": 2, "packed": 1}
    assert seen.overdue.keys == tuple(map(str, waits))
    assert command_at(MORNING, time_machine)[:3] == [
        "The print runs of Wednesday 1 July 2026 and Thursday 2 July 2026 are unfinished; letters they take first: 2",
        *(f"    {pk}" for pk in waits),
    ]
    assert (2, "letters of unfinished runs since 01 Jul") in [(fact.count, fact.label) for fact in panels.run()]
    shown = " ".join(admin_client.get("/admin/letters/printrun/").content.decode().split())
    assert "The runs of Wednesday 1 July and Thursday 2 July are unfinished: they take 2 letters first" in shown
    assert "<strong>1</strong> before all others: packed in zips that are not handed over yet" in shown
    assert run(MORNING)["letters"] == 3
    assert said(MORNING) == {"goes": 1}


def test_an_older_run_that_only_waits_for_its_end_is_named(time_machine, admin_client):
    PrintRun.objects.create(day=date(2026, 6, 29), deadline=NOON - 2 * A_DAY)
    PrintRun.objects.create(day=date(2026, 6, 30), deadline=NOON - A_DAY, finished_at=NOON - A_DAY)
    assert command_at(NOON, time_machine)[0] == (
        "The print run of Monday 29 June 2026 is unfinished; letters it takes first: 0"
    )
    shown = " ".join(admin_client.get("/admin/letters/printrun/").content.decode().split())
    assert "The run of Monday 29 June is unfinished: it takes no more letters." in shown
