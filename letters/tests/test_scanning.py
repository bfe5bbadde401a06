"""The virus check: verdicts and files, replaced files, letters cancelled meanwhile."""

import hashlib
import io
from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from callbacks.outcomes import settle
from letters import clamd, scanning
from letters.models import Letter
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.tests import scans
from letters.tests.scans import CLEAN, INFECTED, NOW, OTHER, Status, alerts, found, lying, run, waiting
from letters.uploading import Upload, upload_letter
from notify.fields import new_id
from notify.loops import InTransaction
from notify.states import Move
from notify.testing import make_endpoint, make_letter, make_notification, make_service

pytestmark = pytest.mark.django_db
clamd_server, scanner, storage = servers.clamd_server, servers.scanner, scans.storage


def test_a_clean_letter_may_be_printed(scanner, storage):
    letter = waiting()
    assert run() == 1
    letter, status = found(letter)
    assert (status, letter.scan_verdict, letter.scanned_at) == (Status.CREATED, "clean", NOW)
    assert letter.scanned_sha256 == letter.sha256 == hashlib.sha256(CLEAN).hexdigest()
    assert (letter.due_at, letter.claimed_at, letter.last_error) == (None, None, "")
    assert lying(storage) == ["letters-pdf"]
    assert (storage / "letters-pdf" / letter.pdf.name).read_bytes() == CLEAN
    assert list(Letter.objects.ready()) == [letter]
    assert (run(), alerts()) == (0, {})


def test_an_infected_letter_is_put_away_and_told(scanner, storage):
    """L14."""
    service = make_service()
    make_endpoint(service)
    letter = waiting(INFECTED, service=service, original_file_name="Mrs Someone.pdf")
    run()
    letter, status = found(letter)
    assert (status, letter.scan_verdict) == (Status.VIRUS_SCAN_FAILED, "infected")
    assert letter.notification.status_reason == f"VIRUS_FOUND: {servers.VIRUS}"
    assert lying(storage) == ["letters-invalid"]
    assert Callback.objects.get().notification_status == Status.VIRUS_SCAN_FAILED
    told = alerts()["virus-found"]
    assert told.scope == f"letter {letter.pk}"
    assert str(service) in told.message
    assert "Someone" not in told.message  # alerts travel and are logged; the name is on the letter's page
    assert Letter.objects.ready().count() == 0
    run(NOW + timedelta(hours=1))
    assert alerts()["virus-found"].times_seen == 1


def test_a_virus_is_found_in_a_packed_page_too(scanner):
    pdf = pdfs.blank()
    pdf.pages[0].obj.Contents = pdf.make_stream(clamd._EICAR)
    letter = waiting(pdfs.saved(pdf, compress_streams=True))
    run()
    assert found(letter)[1] == Status.VIRUS_SCAN_FAILED


def test_the_alert_about_an_infected_letter_closes_when_retention_has_removed_it(scanner):
    letter = waiting(INFECTED)
    run()
    letter.delete()
    run()
    assert alerts() == {}


def test_many_letters_are_seen_through_in_one_run(scanner, storage):
    letters = [waiting(INFECTED if place == 2 else CLEAN) for place in range(5)]
    assert run() == 5
    assert [found(letter)[1] for letter in letters].count(Status.CREATED) == 4
    assert lying(storage) == ["letters-invalid", *["letters-pdf"] * 4]


def test_only_precompiled_letters_that_are_due_are_scanned(scanner):
    late = waiting(due_at=NOW + timedelta(seconds=1))
    make_letter(pdf=None, due_at=NOW)  # to be rendered
    assert run() == 0
    assert run(NOW + timedelta(seconds=1)) == 1
    assert found(late)[1] == Status.CREATED


def test_the_loop_is_not_run_inside_a_transaction(scanner, transactional_db):
    from django.db import transaction

    with transaction.atomic(), pytest.raises(InTransaction):
        run()


@pytest.mark.parametrize(("data", "status"), [(OTHER, "created"), (INFECTED, "virus-scan-failed")])
def test_a_replaced_file_is_checked_and_scanned_as_the_new_one(scanner, storage, data, status):
    """L17."""
    letter = waiting()
    (storage / "letters-scan" / letter.pdf.name).write_bytes(data)
    assert run() == 2  # seen to be another one; then scanned
    letter, reached = found(letter)
    assert (reached, letter.sha256) == (status, hashlib.sha256(data).hexdigest())
    assert letter.scanned_sha256 == letter.sha256
    assert letter.pages == (3 if data is OTHER else 1)
    assert alerts()["letter-file-changed"].times_seen == 1


def test_a_replaced_file_that_may_not_be_printed_and_holds_a_virus_is_told_as_infected(scanner, storage):
    letter = waiting()
    data = pdfs.with_attachment(clamd._EICAR)
    (storage / "letters-scan" / letter.pdf.name).write_bytes(data)
    run()
    letter, status = found(letter)
    assert (status, letter.scan_verdict) == (Status.VIRUS_SCAN_FAILED, "infected")
    assert letter.sha256 == letter.scanned_sha256 == hashlib.sha256(data).hexdigest()
    assert lying(storage) == ["letters-invalid"]
    assert set(alerts()) == {"virus-found", "letter-file-changed"}


def test_a_replaced_file_that_may_not_be_printed_fails_its_letter(scanner, storage):
    letter = waiting()
    (storage / "letters-scan" / letter.pdf.name).write_bytes(pdfs.good(11))
    run()
    letter, status = found(letter)
    assert status == Status.VALIDATION_FAILED
    assert letter.notification.status_reason.startswith("PDF_CHANGED: PDF_PAGES: ")
    assert lying(storage) == ["letters-invalid"]
    assert "letter-file-changed" in alerts()


def test_a_verdict_belongs_to_the_bytes_that_were_scanned_even_if_the_file_changes_meanwhile(
    scanner, storage, monkeypatch
):
    letter = waiting()
    real = clamd.scan

    def scan(file, **options):
        (storage / "letters-scan" / letter.pdf.name).write_bytes(INFECTED)
        return real(file, **options)

    monkeypatch.setattr(scanning.clamd, "scan", scan)
    run()
    assert found(letter)[1] == Status.CREATED
    assert (storage / "letters-pdf" / letter.pdf.name).read_bytes() == CLEAN


def test_a_letter_cancelled_before_its_check_is_not_scanned_and_its_file_goes(scanner, storage):
    letter = waiting(INFECTED)
    settle([Move(letter.pk, Status.CANCELLED)], now=NOW)
    assert run() == 1
    letter, status = found(letter)
    assert (status, letter.scan_verdict, letter.due_at, letter.pdf.name) == (Status.CANCELLED, "", None, "")
    assert (lying(storage), alerts()) == ([], {})


@pytest.mark.parametrize("data", [CLEAN, INFECTED], ids=["clean", "infected"])
def test_a_letter_cancelled_during_its_check_stays_cancelled(scanner, storage, monkeypatch, data):
    letter = waiting(data)
    real = clamd.scan

    def scan(file, **options):
        settle([Move(letter.pk, Status.CANCELLED)], now=NOW)
        return real(file, **options)

    monkeypatch.setattr(scanning.clamd, "scan", scan)
    run()
    letter, status = found(letter)
    assert (status, letter.due_at) == (Status.CANCELLED, None)
    assert "virus-found" not in alerts()
    assert "letters-scan" not in lying(storage)
    assert "letters-invalid" not in lying(storage)


def test_due_says_what_would_be_scanned():
    first, _ = waiting(), waiting(due_at=NOW + timedelta(minutes=1))
    make_notification()
    due = scanning.due(now=NOW)
    assert (due.count, due.oldest, due.keys) == (1, NOW, [str(first.pk)])


def test_an_upload_is_scanned_and_ready_to_print_by_the_task(scanner, storage):
    from letters.tasks import scan_letters

    service = make_service()
    make_endpoint(service)
    now = datetime.now(UTC)
    letter = upload_letter(io.BytesIO(CLEAN), Upload(new_id(), service, "a.pdf"), now=now)
    assert scan_letters() == {"handled": 1}
    assert list(Letter.objects.ready()) == [letter]
    assert scan_letters() == {"handled": 0}
