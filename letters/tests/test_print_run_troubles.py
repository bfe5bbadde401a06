"""The daily print run: PDFs that are wrong, storages that are away or slow, steps that fail."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.storage import FileSystemStorage

from letters import postal, print_run, reading
from letters.models import PrintRun
from letters.tests import print_runs
from letters.tests.print_runs import AT, break_pdf, letter, run, statuses
from letters.tests.storages import members
from notify.models import Alert, Notification
from notify.testing import make_service

pytestmark = pytest.mark.django_db
threads = pytest.mark.django_db(transaction=True)
folder = print_runs.folder


@pytest.mark.parametrize("how", ["removed", "changed", "truncated"])
def test_a_wrong_pdf_fails_its_letter_with_an_alert_and_the_others_go(folder, how):
    service = make_service()
    good, bad, last = (letter(service=service) for _ in range(3))
    break_pdf(folder, bad, how)
    run()
    assert statuses() == {good.pk: "sent", bad.pk: "technical-failure", last.pk: "sent"}
    assert "its PDF" in Notification.objects.get(pk=bad.pk).status_reason
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope) == ("letter-file-wrong", "print run 2026-07-01")
    assert str(bad.pk) in alert.message
    assert set(members(folder)) == {str(good.pk), str(last.pk)}


def test_a_storage_that_lost_everything_fails_no_letter(folder):
    letters = [letter() for _ in range(12)]
    for one in letters:
        break_pdf(folder, one, "removed")
    with pytest.raises(reading.StorageAway):
        run()
    assert set(statuses().values()) == {"created"}
    assert Alert.objects.get().kind == "print-run-failed"


def test_a_storage_error_stops_the_run_with_an_alert_and_the_next_tick_finishes_it(folder, monkeypatch):
    one = letter()

    def broken(*args):
        raise OSError("the line is down")

    monkeypatch.setattr(postal, "put_whole", broken)
    with pytest.raises(OSError, match="line"):
        run()
    assert Alert.objects.open().get().kind == "print-run-failed"
    assert "the line" not in Alert.objects.get().message  # a storage's own words may name anything
    monkeypatch.undo()
    run()
    assert statuses()[one.pk] == "sent"
    assert not Alert.objects.open().exists()


@threads
def test_a_slow_storage_does_not_cost_the_session_and_is_seen_as_progress(folder, settings, monkeypatch):
    settings.LOOP_FROZEN_AFTER = timedelta(seconds=1)
    service = make_service()
    letters = [letter(service=service) for _ in range(4)]
    opened, put = FileSystemStorage.open, postal.put_whole

    def slow_open(*args, **kwargs):
        time.sleep(0.5)
        return opened(*args, **kwargs)

    seen = []

    def slow_put(storage, name, content):
        content.seek(0)
        if not name.endswith(".zip"):
            return put(storage, name, content)
        with ThreadPoolExecutor() as threads:  # as the client of an object store reads
            for _ in range(4):
                time.sleep(0.5)
                threads.submit(content.read, 1).result()
        seen.extend(PrintRun.objects.values_list("progressed_at", flat=True))
        return put(storage, name, content)

    monkeypatch.setattr(FileSystemStorage, "open", slow_open)
    monkeypatch.setattr(postal, "put_whole", slow_put)
    run()
    assert set(statuses().values()) == {"sent"}
    assert sum(members(folder).values()) == len(letters)
    assert seen[0] != AT


def test_a_run_that_cannot_go_on_keeps_no_later_days_letters(folder, monkeypatch):
    first, put_whole = letter(), postal.put_whole

    def broken(storage, name, *content):
        if "2026-07-01" in name:
            raise OSError("no such zip here")
        return put_whole(storage, name, *content)

    monkeypatch.setattr(postal, "put_whole", broken)
    with pytest.raises(OSError, match="zip"):
        run()
    second = letter(created_at=AT + timedelta(hours=12))
    for _ in range(2):
        with pytest.raises(OSError, match="zip"):
            run(AT + timedelta(days=1))
        assert statuses() == {first.pk: "created", second.pk: "sent"}
    assert Alert.objects.open().get().scope == "print run 2026-07-01"
    assert PrintRun.objects.filter(finished_at__isnull=False).count() == 1
    monkeypatch.undo()
    assert run(AT + timedelta(days=1))["letters"] == 1
    assert (statuses()[first.pk], Alert.objects.open().exists()) == ("sent", False)
    assert set(members(folder)) == {str(first.pk), str(second.pk)}  # each in one zip


@threads
def test_an_alert_is_written_although_the_database_ended_the_session(settings, monkeypatch):
    settings.LOOP_FROZEN_AFTER = timedelta(seconds=1)
    letter()

    def stuck(*args):
        time.sleep(2)
        raise OSError("the line is down")

    monkeypatch.setattr(postal, "put_whole", stuck)
    with pytest.raises(OSError, match="line"):
        run()
    assert Alert.objects.open().get().kind == "print-run-failed"


@pytest.mark.parametrize("broken", ["read_acknowledgements", "collate", "tell_held"])
def test_a_step_of_the_tick_that_fails_keeps_no_other_from_its_work(monkeypatch, broken):
    called, counts = [], {}

    def step(name, answer):
        def call(**kwargs):
            called.append(name)
            kwargs.get("counts", {}).update(answer)
            if name == broken:
                raise OSError("the line is down")
            return answer

        return call

    monkeypatch.setattr(print_run, "collate", step("collate", {"letters": 3}))
    monkeypatch.setattr(print_run, "tell_held", step("tell_held", {}))
    monkeypatch.setattr(print_run, "read_acknowledgements", step("read_acknowledgements", {"acknowledged": 1}))
    with pytest.raises(OSError, match="line"):
        print_run.tick(clock=lambda: AT, counts=counts)
    assert called == ["read_acknowledgements", "collate", "tell_held"]
    assert counts["letters"] == 3
