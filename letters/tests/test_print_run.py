"""The daily print run: which letters go, when, and that each goes exactly once whatever happens."""

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection, transaction

from callbacks.models import Callback
from letters import postal, print_files, print_run, reading
from letters.cancelling import cancel_letters
from letters.models import Letter, LetterHold, PrintFile, PrintRun
from letters.tests.storages import members, use_folders, zips
from notify.loops import InTransaction, slot
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_letter, make_provider, make_service
from notify.tests.together import together
from providers.models import Pause

pytestmark = pytest.mark.django_db
threads = pytest.mark.django_db(transaction=True)
SECOND = timedelta(seconds=1)
DAY = date(2026, 7, 1)  # local clocks show an hour more than UTC
DEADLINE = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


def run(now=AT, **day):
    return print_run.collate(clock=lambda: now, **day)


def letter(**fields):
    return make_letter(**({"created_at": NOON} | fields))


def statuses():
    return dict(Notification.objects.values_list("pk", "status"))


def labels_sent(letters):
    sent = Notification.objects.filter(status__in=["sending", "sent"]).values_list("pk", flat=True)
    return {label for label, one in letters.items() if one.pk in set(sent)}


def test_takes_what_is_ready_and_made_before_the_deadline_however_old():
    held = make_service()
    LetterHold.objects.create(service=held, reason="a wrong letterhead")
    clean = {"kind": "precompiled", "scan_verdict": "clean"}
    letters = {
        "a second before": letter(created_at=DEADLINE - SECOND),
        "at the deadline": letter(created_at=DEADLINE),
        "months old": letter(created_at=NOON - timedelta(days=80)),
        "no PDF": letter(pdf=None),
        "held": letter(service=held),
        "switched off": letter(service=make_service(active=False)),
        "cancelled": letter(status="cancelled"),
        "not scanned": letter(kind="precompiled"),
        "waits for the scan": letter(status="pending-virus-check", kind="precompiled"),
        "scanned, other bytes": letter(**clean, scanned_sha256="0" * 64),
        "scanned": letter(**clean, scanned_sha256=hashlib.sha256(b"scanned").hexdigest(), pdf=b"scanned"),
    }
    assert run() == {"letters": 3, "zips": 3, "unfinished": 0}
    assert labels_sent(letters) == {"a second before", "months old", "scanned"}


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (AT - SECOND, date(2026, 6, 30)),
        (AT, DAY),
        (datetime(2026, 7, 2, 3, tzinfo=UTC), DAY),  # the next morning, after a night without workers
        (datetime(2026, 3, 29, 16, 50, tzinfo=UTC), date(2026, 3, 29)),  # clocks went forward: 17:50 BST
        (datetime(2026, 3, 29, 16, 49, 59, tzinfo=UTC), date(2026, 3, 28)),
        (datetime(2026, 10, 25, 17, 50, tzinfo=UTC), date(2026, 10, 25)),  # clocks went back: 17:50 GMT
        (datetime(2026, 10, 25, 17, 49, 59, tzinfo=UTC), date(2026, 10, 24)),
    ],
)
def test_the_newest_day_whose_time_has_come_is_run_once(now, day):
    run(now)
    first = PrintRun.objects.get()
    assert (first.day, first.finished_at) == (day, now)
    assert print_run.due_day(now) is None
    run(now)
    assert PrintRun.objects.get() == first


def test_after_days_without_a_worker_one_run_takes_everything():
    letters = [letter(created_at=NOON + timedelta(days=ahead)) for ahead in range(4)]
    run(NOON - timedelta(days=1))
    assert run(AT + timedelta(days=3))["letters"] == 4
    assert set(statuses().values()) == {"sent"}
    assert PrintRun.objects.count() == 2
    assert PrintRun.objects.filter(letter_count=len(letters)).count() == 1


def test_a_letter_made_after_the_deadline_goes_the_next_day():
    late = letter(created_at=DEADLINE + SECOND)
    run()
    assert statuses()[late.pk] == "created"
    run(AT + timedelta(days=1))
    assert statuses()[late.pk] == "sent"


def test_with_a_provider_that_reports_letters_are_sending_and_its_service_is_not_yet_told():
    make_provider("postal")
    one = letter()
    make_endpoint(one.notification.service)
    run()
    one.notification.refresh_from_db()
    assert (one.notification.status, one.notification.sent_at, one.notification.provider_name) == (
        "sending", AT, "postal",
    )  # fmt: skip
    assert PrintFile.objects.get().acknowledgeable
    assert not Callback.objects.exists()


def test_without_receipts_letters_are_sent_at_upload_and_their_service_is_told():
    make_provider("postal", receipts=False)
    one = letter()
    make_endpoint(one.notification.service)
    run()
    assert statuses()[one.pk] == "sent"
    assert not PrintFile.objects.get().acknowledgeable
    assert Callback.objects.get().notification_id == one.pk


def test_zips_are_grouped_by_service_and_postage_and_closed_before_a_limit(settings, folder):
    settings.LETTER_ZIP_FILES_LIMIT, settings.LETTER_ZIP_BYTES_LIMIT = 3, 100
    service = make_service()
    sizes = [60, 40, 1, 98, 1, 1, 1, 1, 101, 1]  # equal to the limit is allowed; an oversized one travels alone
    letters = [letter(service=service, pdf=bytes([65 + place]) * size) for place, size in enumerate(sizes)]
    letter(service=service, postage="first")
    letter()
    assert run()["letters"] == 12
    packed = [list(file.letters.order_by("pk").values_list("pk", flat=True)) for file in PrintFile.objects.filter(
        service=service, postage="second"
    )]  # fmt: skip
    numbers = {one.pk: place for place, one in enumerate(letters)}
    assert [[numbers[pk] for pk in pks] for pks in packed] == [[0, 1], [2, 3, 4], [5, 6, 7], [8], [9]]
    assert PrintFile.objects.values("service", "postage").distinct().count() == 3
    assert sorted(PrintFile.objects.values_list("sequence", flat=True)) == list(range(1, 8))
    assert set(members(folder).values()) == {1}


def test_the_manifest_names_every_zip_with_its_hash_letters_and_sheets(folder):
    for pages in (1, 2, 3):
        letter(pages=pages)
    run()
    written = json.loads((folder / "postal" / "NOTIFY.2026-07-01.manifest.json").read_text())
    assert written["totals"] | {"bytes": 0} == {"files": 3, "letters": 3, "sheets": 4, "bytes": 0}
    for file in written["files"]:
        data = (folder / "postal" / file["name"]).read_bytes()
        assert (file["sha256"], file["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    finished = PrintRun.objects.get()
    assert (finished.letter_count, finished.sheet_count) == (3, 4)


def test_a_day_without_letters_is_finished_and_leaves_nothing_at_the_provider(folder):
    assert run() == {"letters": 0, "zips": 0, "unfinished": 0}
    assert PrintRun.objects.get().finished_at == AT
    assert not (folder / "postal").exists()


def break_pdf(folder, one, how):
    path = folder / "letters-pdf" / one.pdf.name
    if how == "removed":
        path.unlink()
    elif how == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        path.write_bytes(path.read_bytes()[:-1])


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


def test_a_zip_that_was_taken_and_acknowledged_before_we_were_killed_is_not_uploaded_again(folder, monkeypatch):
    make_provider("postal")
    one = letter()
    with monkeypatch.context() as patch:
        patch.setattr(print_files, "mark_sent", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    file = PrintFile.objects.get()
    assert file.uploaded_at is None
    zips(folder)[0].unlink()
    (folder / "postal" / "acknowledgements").mkdir()
    line = f"{file.name},{file.letter_count},{file.sha256},accepted"
    (folder / "postal" / "acknowledgements" / "a.csv").write_text(line)
    print_run.tick(clock=lambda: AT)
    assert zips(folder) == []
    assert statuses()[one.pk] == "sending"


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


STEPS = {
    "before assigning": (print_files, "assign", "before"),
    "after assigning": (print_files, "assign", "after"),
    "before the upload": (postal, "put_whole", "before"),
    "after the upload": (postal, "put_whole", "after"),
    "while letters are settled": (print_files, "settle", "after"),  # inside its transaction, which is rolled back
    "after settling": (print_files, "mark_sent", "after"),
    "before the end": (print_run, "_finish", "before"),
}


def kill_at(monkeypatch, step, call):
    """Kill at the `call`-th time that step is reached."""
    module, name, when = STEPS[step]
    real, calls = getattr(module, name), []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == call and when == "before":
            raise Killed
        answer = real(*args, **kwargs)
        if len(calls) == call:
            raise Killed
        return answer

    monkeypatch.setattr(module, name, dying)


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_each_letter_ends_in_exactly_one_zip_with_the_same_bytes(
    monkeypatch, settings, folder, step, call
):
    settings.LETTER_ZIP_FILES_LIMIT = 2
    service = make_service()
    letters = [letter(service=service) for _ in range(5)]
    kill_at(monkeypatch, step, call)
    with suppress(Killed):
        run()
    early = {path.name: path.read_bytes() for path in zips(folder)}
    monkeypatch.undo()
    run(AT + timedelta(minutes=5))
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert set(statuses().values()) == {"sent"}
    assert {path.name: path.read_bytes() for path in zips(folder) if path.name in early} == early
    for file in PrintFile.objects.all():
        data = (folder / "postal" / file.name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)
    assert PrintRun.objects.get().letter_count == 5


def test_a_zip_left_behind_is_packed_again_byte_for_byte_also_the_next_day(monkeypatch, folder):
    one = letter()
    kill_at(monkeypatch, "before the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    before = PrintFile.objects.get()
    other = letter(created_at=NOON + timedelta(days=1))
    run(AT + timedelta(days=1))
    assert members(folder) == {str(one.pk): 1, str(other.pk): 1}
    assert hashlib.sha256((folder / "postal" / before.name).read_bytes()).hexdigest() == before.sha256
    assert PrintRun.objects.filter(finished_at__isnull=False).count() == 2


@pytest.mark.parametrize("left", [1, 0])
def test_a_pdf_that_goes_between_assigning_and_upload_leaves_its_zip(monkeypatch, folder, left):
    service = make_service()
    letters = [letter(service=service) for _ in range(1 + left)]
    kill_at(monkeypatch, "before the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    break_pdf(folder, letters[0], "removed")
    run(AT + timedelta(minutes=5))
    assert statuses()[letters[0].pk] == "technical-failure"
    assert members(folder) == {str(one.pk): 1 for one in letters[1:]}
    assert PrintFile.objects.count() == left
    assert PrintRun.objects.get().letter_count == left


def test_a_letter_cancelled_while_its_zip_is_packed_is_left_out(monkeypatch, folder):
    service = make_service()
    gone, stays = letter(service=service), letter(service=service)
    real = print_files.assign

    def late(*args, **kwargs):
        monkeypatch.undo()
        LetterHold.objects.create(service=service, reason="cancelling is possible while held")
        assert len(cancel_letters([gone.pk], now=AT)) == 1
        LetterHold.objects.all().delete()
        return real(*args, **kwargs)

    monkeypatch.setattr(print_files, "assign", late)
    run()
    assert statuses() == {gone.pk: "cancelled", stays.pk: "sent"}
    assert set(members(folder)) == {str(stays.pk)}


@threads
def test_two_workers_at_once_send_each_letter_once(folder):
    letters = [letter() for _ in range(6)]

    def work():
        with suppress(print_run.Busy):
            return run()

    together(work, work)
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert PrintRun.objects.count() == 1


@threads
def test_while_one_worker_collates_another_is_told_so_and_a_dead_worker_frees_its_place():
    def refused():
        with suppress(print_run.Busy):
            return run()

    def die():
        with slot(print_run.LOCK, places=1) as mine:
            connection.close()  # as when a worker dies: the lock goes with its connection
        return mine

    letter()
    with slot(print_run.LOCK, places=1):
        assert together(refused) == [None]
    assert together(die) == [True]
    assert together(refused)[0]["letters"] == 1


@threads
def test_without_the_lock_two_workers_still_pack_each_letter_once(folder):
    letters = [letter() for _ in range(8)]
    PrintRun.objects.create(day=DAY, deadline=DEADLINE)

    def work():
        day = PrintRun.objects.get()
        with suppress(Exception):  # the sequence is taken: the loser would begin again
            print_run._work(day, {"letters": 0, "zips": 0}, clock=lambda: AT, until=1e12)

    together(work, work)
    run()
    assert members(folder) == {str(one.pk): 1 for one in letters}
    assert set(statuses().values()) == {"sent"}


def test_a_pause_keeps_letters_back_and_they_go_when_it_ends():
    one = letter()
    pause = Pause.objects.create(reason="a test", paused_at=NOON)
    with pytest.raises(print_run.Paused):
        run()
    assert not PrintRun.objects.exists()
    Pause.objects.filter(pk=pause.pk).update(ended_at=AT)
    run(AT + timedelta(hours=5))
    assert statuses()[one.pk] == "sent"


def test_a_worker_told_to_stop_stops_between_zips_and_the_next_goes_on(monkeypatch, folder):
    letters = [letter() for _ in range(2)]
    answers = iter([False, True])
    monkeypatch.setattr(print_run, "stopping", lambda: next(answers))
    assert run() == {"letters": 1, "zips": 1, "unfinished": 1}
    monkeypatch.undo()
    assert run()["letters"] == 1
    assert len(members(folder)) == len(letters)


def test_a_receipt_faster_than_the_end_of_the_upload_stays(monkeypatch):
    make_provider("postal")
    one = letter()
    kill_at(monkeypatch, "after the upload", 1)
    with suppress(Killed):
        run()
    monkeypatch.undo()
    Notification.objects.filter(pk=one.pk).update(status="delivered")
    run()
    assert statuses()[one.pk] == "delivered"


def test_is_refused_inside_a_transaction():
    with pytest.raises(InTransaction), transaction.atomic():
        run()


def test_queries_do_not_grow_with_the_letters_of_a_zip(django_assert_max_num_queries):
    service = make_service()
    for _ in range(40):
        letter(service=service)
    with django_assert_max_num_queries(50):
        assert run()["letters"] == 40
    assert Letter.objects.filter(print_file=PrintFile.objects.get()).count() == 40
