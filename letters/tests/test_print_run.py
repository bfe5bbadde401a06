"""The daily print run: which letters go, when, in which zips, and what their services are told."""

import hashlib
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from callbacks.models import Callback
from letters import print_run
from letters.models import Letter, LetterHold, PrintFile, PrintRun
from letters.tests import print_runs
from letters.tests.print_runs import AT, DAY, DEADLINE, NOON, SECOND, letter, run, statuses
from letters.tests.storages import members
from notify.models import Notification
from notify.testing import make_endpoint, make_provider, make_service

pytestmark = pytest.mark.django_db
folder = print_runs.folder


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


def test_queries_do_not_grow_with_the_letters_of_a_zip(django_assert_max_num_queries):
    service = make_service()
    for _ in range(40):
        letter(service=service)
    with django_assert_max_num_queries(50):
        assert run()["letters"] == 40
    assert Letter.objects.filter(print_file=PrintFile.objects.get()).count() == 40
