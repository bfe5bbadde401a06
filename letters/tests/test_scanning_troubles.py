"""The virus check with a scanner, a file or a storage that is away."""

import io
import time
from datetime import timedelta

import pytest

from callbacks.outcomes import settle
from letters import clamd, placing, scanning
from letters.models import Letter
from letters.preview import NotShown, letter_pdf
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.tests import scans
from letters.tests.scans import CLEAN, NOW, Status, alerts, found, lying, run, waiting
from letters.uploading import Upload, upload_letter
from notify.fields import new_id
from notify.states import Move
from notify.testing import make_service

pytestmark = pytest.mark.django_db
clamd_server, scanner, storage = servers.clamd_server, servers.scanner, scans.storage


@pytest.mark.parametrize(("address", "said"), [("", "CLAMD_SOCKET is not set"), ("/nowhere", "cannot be reached")])
def test_without_a_scanner_nothing_is_claimed_and_one_alert_says_why_until_it_is_back(
    clamd_server, settings, storage, address, said
):
    settings.CLAMD_SOCKET = address
    assert run() == 0
    assert alerts() == {}  # nobody waits
    letters = [waiting(), waiting()]
    for minute in range(3):
        assert run(NOW + timedelta(minutes=minute)) == 0
    assert [found(letter)[0].attempts for letter in letters] == [0, 0]
    told = alerts()["virus-scanner-away"]
    assert said in told.message
    assert "2 letters wait" in told.message
    assert told.times_seen == 1
    state = scanning.scanner_state(NOW)
    assert (state["configured"], state["waiting"], state["due"], state["oldest"]) == (bool(address), 2, 2, NOW)
    settings.CLAMD_SOCKET = clamd_server.address
    assert run(NOW + timedelta(minutes=5)) == 2
    assert alerts() == {}
    state = scanning.scanner_state(NOW)
    assert state == {"configured": True, "waiting": 0, "oldest": None, "due": 0, "trouble": ""}


def test_the_alert_closes_when_nobody_waits_any_more(settings):
    settings.CLAMD_SOCKET = ""
    letter = waiting()
    run()
    settle([Move(letter.pk, Status.CANCELLED)], now=NOW)
    run()
    assert alerts() == {}


def test_a_scanner_that_was_there_a_moment_ago_costs_one_letter_one_try(settings, storage):
    letters = [waiting(), waiting()]
    with servers.running() as server:
        settings.CLAMD_SOCKET = server.address
        clamd._passed.clear()
        clamd.self_test()
    assert run() == 1
    first, status = found(letters[0])
    assert (status, first.attempts, first.due_at) == (Status.PENDING_VIRUS_CHECK, 1, NOW + timedelta(minutes=1))
    assert first.last_error.startswith("SCANNER: the virus scanner cannot be reached")
    assert first.claimed_at is None
    assert found(letters[1])[0].attempts == 0
    assert "virus-scanner-away" in alerts()
    assert lying(storage) == ["letters-scan", "letters-scan"]


def test_a_scanner_killed_in_mid_scan_leaves_the_letter_pending_and_its_return_finishes_it(settings, storage):
    letter = waiting(pdfs.good(text=b"%" * 900_000))
    with servers.running() as server:
        settings.CLAMD_SOCKET = server.address
        clamd._passed.clear()
        clamd.self_test()
        real = clamd._send
        sent = []

        def send(line, data, until):
            sent.append(data)
            if len(sent) == 4:
                server.stop()
            real(line, data, until)

        clamd._send = send
        try:
            run()
        finally:
            clamd._send = real
        letter, status = found(letter)
        assert (status, letter.claimed_at, lying(storage)) == (Status.PENDING_VIRUS_CHECK, None, ["letters-scan"])
        assert letter.last_error.startswith("SCANNER: ")
        server.start()
        assert run(NOW + timedelta(minutes=1)) == 1
    assert found(letter)[1] == Status.CREATED
    assert alerts() == {}


def test_a_file_over_the_scanners_limit_stays_pending_and_does_not_hold_up_the_others(scanner, storage):
    large = waiting(pdfs.good(text=b"%" * (servers.LIMIT + 1_000)))
    small = waiting()
    assert run() == 2
    large, status = found(large)
    assert (status, large.scan_verdict) == (Status.PENDING_VIRUS_CHECK, "")
    assert large.last_error.startswith("SCANNER: ")
    assert found(small)[1] == Status.CREATED
    assert "1 letter waits" in alerts()["virus-scanner-away"].message


def test_tries_are_spread_from_a_minute_to_a_quarter_of_an_hour(storage):
    letter = waiting()
    (storage / "letters-scan" / letter.pdf.name).unlink()
    waits = []
    for attempts in (0, 1, 2, 3, 4, 200, 32_000):
        Letter.objects.update(attempts=attempts, due_at=NOW)
        scanning.scan_next(scanning._Scanner(), clock=lambda: NOW)
        waits.append((found(letter)[0].due_at - NOW).total_seconds() / 60)
    assert waits == [1, 2, 4, 8, 15, 15, 15]


def test_a_missing_file_is_said_looked_for_again_and_taken_back(scanner, storage):
    letter = waiting()
    path = storage / "letters-scan" / letter.pdf.name
    path.unlink()
    assert run() == 1
    letter, status = found(letter)
    assert (status, letter.last_error) == (Status.PENDING_VIRUS_CHECK, "FILE_MISSING: the file is not in letters-scan")
    assert alerts()["letter-file-missing"].scope == f"letter {letter.pk}"
    path.write_bytes(CLEAN)
    assert run(NOW + timedelta(minutes=1)) == 1
    assert found(letter)[1] == Status.CREATED
    assert alerts() == {}


def test_a_storage_that_fails_holds_up_its_letter_only(scanner, storage, monkeypatch):
    broken, fine = waiting(), waiting()
    real = placing.storages["letters-scan"].__class__._open

    def fails(self, name, mode="rb"):
        if str(broken.pk) in name:
            raise PermissionError("denied")
        return real(self, name, mode)

    monkeypatch.setattr(placing.storages["letters-scan"].__class__, "_open", fails)
    assert run() == 2
    assert found(broken)[0].last_error.startswith("PermissionError")
    assert found(fine)[1] == Status.CREATED


@pytest.mark.parametrize("limit", ["MaxFileSize 300K", "MaxScanSize 300K"])
def test_a_file_the_scanner_calls_clean_unseen_stays_pending_until_its_limits_are_raised(settings, storage, limit):
    settings.LETTER_FILE_BYTES_LIMIT = servers.LIMIT
    large, small = waiting(pdfs.good(text=b"%" * 500_000 + clamd._EICAR)), waiting()
    with servers.running(extra=limit + "\n") as server:
        settings.CLAMD_SOCKET = server.address
        assert clamd._ask((storage / "letters-scan" / large.pdf.name).read_bytes(), None, time.monotonic() + 300) == ""
        assert run() == 2
    assert (found(large)[1], found(small)[1]) == (Status.PENDING_VIRUS_CHECK, Status.CREATED)
    assert lying(storage) == ["letters-pdf", "letters-scan"]
    assert "in clamd.conf set StreamMaxLength and MaxFileSize" in alerts()["virus-scanner-away"].message
    with servers.running() as server:
        settings.CLAMD_SOCKET = server.address
        run(NOW + timedelta(minutes=1))
    assert found(large)[1] == Status.VIRUS_SCAN_FAILED
    assert "virus-scanner-away" not in alerts()


@pytest.mark.parametrize("address", ["", "/nowhere"])
def test_a_file_refused_while_nobody_could_scan_it_is_scanned_later(clamd_server, settings, storage, address):
    settings.CLAMD_SOCKET = address
    bad = pdfs.with_attachment(clamd._EICAR), pdfs.with_attachment(b"harmless"), pdfs.with_attachment(b"gone")
    letters = [upload_letter(io.BytesIO(data), Upload(new_id(), make_service(), "a.pdf"), now=NOW) for data in bad]
    (storage / "letters-invalid" / letters[2].pdf.name).unlink()
    assert run() == 0  # nothing is claimed
    assert [found(letter)[0].attempts for letter in letters] == [0, 0, 0]
    assert alerts() == {}  # and no letter waits to be printed
    settings.CLAMD_SOCKET = clamd_server.address
    assert run() == 3
    assert run() == 0
    assert [found(letter)[1] for letter in letters] == [Status.VALIDATION_FAILED] * 3
    assert [found(letter)[0].scan_verdict for letter in letters] == ["infected", "", ""]
    told = alerts()["virus-found"]
    assert told.scope == f"letter {letters[0].pk}"
    assert "refused for another reason while no scanner could be asked" in told.message
    assert "told by callback" not in told.message
    assert lying(storage) == ["letters-invalid", "letters-invalid"]
    with pytest.raises(NotShown, match="virus"):
        letter_pdf(found(letters[0])[0])
