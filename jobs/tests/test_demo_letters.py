"""The demonstration of letters: one command from a council's file to zips."""

import json

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from jobs import demo_letters
from letters import files
from letters.models import PrintFile, PrintRun
from notify.models import Notification
from notify.testing import make_letter
from providers.pausing import pause_sending

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folders(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    for name in (files.PDF, files.POSTAL):
        place = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / name}}
        settings.STORAGES = settings.STORAGES | {name: place}


def test_every_good_row_lies_in_one_zip_and_the_bad_one_is_named(capsys):
    call_command("demo_letters")
    shown = capsys.readouterr().out
    assert "WRONG" not in shown
    assert "row 402 cannot be sent: ADDRESS_TOO_FEW_LINES" in shown
    assert "400 of 400 letters lie in exactly one zip" in shown
    (zipped,) = PrintFile.objects.all()
    assert zipped.name in shown
    manifest = next(name for name in storages[files.POSTAL].listdir("")[1] if name.endswith("manifest.json"))
    with storages[files.POSTAL].open(manifest) as stream:
        assert json.load(stream)["totals"]["letters"] == 400
    assert PrintRun.objects.get().letter_count == 400


def test_a_second_run_takes_the_next_day_and_a_missing_zip_is_seen(monkeypatch, tmp_path, capsys):
    few = tmp_path / "few.csv"
    few.write_text("".join(demo_letters.SAMPLE.read_text().splitlines(keepends=True)[:4]))
    monkeypatch.setattr(demo_letters, "SAMPLE", few)
    monkeypatch.setattr(demo_letters, "GOOD_ROWS", 3)
    monkeypatch.setattr(demo_letters, "BAD_ROWS", 0)
    call_command("demo_letters")
    call_command("demo_letters")
    first, second = PrintRun.objects.order_by("day")
    assert (second.day - first.day).days == 1
    assert capsys.readouterr().out.count("3 of 3 letters lie in exactly one zip") == 2
    monkeypatch.setattr(demo_letters, "GOOD_ROWS", 4)
    with pytest.raises(SystemExit):
        call_command("demo_letters")
    assert "WRONG 3 with the postal provider" in capsys.readouterr().out


def test_letters_of_another_service_are_not_taken_along():
    other = make_letter()
    with pytest.raises(CommandError, match="Letters of other services wait here"):
        call_command("demo_letters")
    other.refresh_from_db()
    assert (other.print_run, PrintRun.objects.count()) == (None, 0)


def test_it_does_not_run_in_production_or_while_paused(settings):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="does not run where NOTIFY_ENVIRONMENT"):
        call_command("demo_letters")
    settings.PRODUCTION = False
    pause_sending(reason="stop", now=timezone.now())
    with pytest.raises(CommandError, match="All sending is paused"):
        call_command("demo_letters")
    assert set(Notification.objects.values_list("status", flat=True)) == {"created", "validation-failed"}
