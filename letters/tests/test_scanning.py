"""The virus check: verdicts and files, a scanner that is away, workers that die at every step, two at once."""

import hashlib
import io
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from callbacks.models import Callback
from callbacks.outcomes import settle
from letters import clamd, placing, scanning
from letters.models import Letter
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.uploading import Upload, upload_letter
from notify.fields import new_id
from notify.loops import InTransaction
from notify.models import Alert, Notification
from notify.states import Move
from notify.testing import make_endpoint, make_letter, make_notification, make_service
from notify.tests.together import together

pytestmark = pytest.mark.django_db
clamd_server, scanner = servers.clamd_server, servers.scanner
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CLEAN, INFECTED, OTHER = pdfs.good(), pdfs.good(text=b"% " + clamd._EICAR), pdfs.good(3)
LEASE = timedelta(seconds=300)
Status = Notification.Status


class Killed(BaseException):
    """A worker that dies here and now."""


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folders."""
    places = {
        name: {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path / name}}
        for name in ("letters-pdf", "letters-scan", "letters-invalid")
    }
    settings.STORAGES = settings.STORAGES | places
    settings.LOOP_LINGER_FOR = timedelta(0)
    return tmp_path


def waiting(data=CLEAN, **fields):
    """Make a letter that waits for its check, its file in letters-scan under the name an upload gives it."""
    defaults = {"kind": "precompiled", "status": "pending-virus-check", "pages": 1, "due_at": NOW, "created_at": NOW}
    letter = make_letter(pdf=data, **(defaults | fields))
    name = f"2026-11-24/{letter.pk}.pdf"
    storages["letters-scan"].delete(letter.pdf.name)
    letter.pdf.name = storages["letters-scan"].save(name, ContentFile(data))
    letter.save()
    return letter


def run(now=NOW):
    """Run the loop at a moment."""
    return scanning.scan_due(clock=lambda: now)


def lying(storage):
    """Name the folders in which files lie."""
    return sorted(path.relative_to(storage).parts[0] for path in storage.rglob("*") if path.is_file())


def found(letter):
    """Return the letter as it is now, with its status."""
    letter = Letter.objects.select_related("notification").get(pk=letter.pk)
    return letter, letter.notification.status


def alerts():
    """Return the open alerts by kind."""
    return {alert.kind: alert for alert in Alert.objects.open()}


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


# --- no scanner ------------------------------------------------------------------------------------------------------


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


# --- replaced files --------------------------------------------------------------------------------------------------


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

    def scan(file):
        (storage / "letters-scan" / letter.pdf.name).write_bytes(INFECTED)
        return real(file)

    monkeypatch.setattr(scanning.clamd, "scan", scan)
    run()
    assert found(letter)[1] == Status.CREATED
    assert (storage / "letters-pdf" / letter.pdf.name).read_bytes() == CLEAN


# --- dying at every step ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [CLEAN, INFECTED], ids=["clean", "infected"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["claim", "_scan", "clamd.scan", "place", "_settle", "settle", "tidy"])
def test_a_worker_that_dies_at_any_step_leaves_work_that_the_next_run_finishes(
    scanner, storage, monkeypatch, step, moment, data
):
    letter = waiting(data)
    home, _, name = f"scanning.{step}".rpartition(".")
    module = clamd if home.endswith("clamd") else scanning
    real = getattr(module, name)

    def dying(*args, **kwargs):
        if moment == "after":
            real(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, dying)
        with pytest.raises(Killed):
            run()
    run(NOW + LEASE)
    letter, status = found(letter)
    final = Status.CREATED if data is CLEAN else Status.VIRUS_SCAN_FAILED
    assert (status, letter.due_at, letter.claimed_at) == (final, None, None)
    files = lying(storage)
    if step == "tidy" or (step, moment) == ("_settle", "after"):  # its copy in letters-scan is swept after a day
        from letters.strays import remove_strays

        remove_strays(now=datetime.now(UTC) + timedelta(days=2), force=True)
        files = lying(storage)
    assert files == ["letters-pdf" if data is CLEAN else "letters-invalid"]


def test_a_lapsed_lease_is_taken_over_and_the_sleeper_changes_nothing(scanner, storage):
    letter = waiting()
    sleeper = scanning.claim(now=NOW)
    assert scanning.claim(now=NOW) is None
    assert run(NOW + LEASE) == 1
    assert found(letter)[1] == Status.CREATED
    scanning._settle(sleeper, "infected", Status.VIRUS_SCAN_FAILED, "VIRUS_FOUND: late", now=NOW + LEASE)
    assert scanning.put_back(sleeper, "late", now=NOW + LEASE) is False
    letter, status = found(letter)
    assert (status, letter.scan_verdict, letter.due_at) == (Status.CREATED, "clean", None)
    assert alerts() == {}


def test_a_sleeper_whose_file_was_moved_meanwhile_raises_no_alarm(scanner):
    letter = waiting()
    sleeper = scanning.claim(now=NOW)
    run(NOW + LEASE)
    with pytest.raises(FileNotFoundError), placing.fetched(sleeper):
        pass
    assert scanning.put_back(sleeper, "gone", now=NOW) is False
    assert found(letter)[0].last_error == ""


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_scan_each_letter_once(scanner, storage, monkeypatch):
    letters = [waiting(INFECTED if place % 3 == 0 else CLEAN) for place in range(6)]
    scanned = []
    real = scanning._scan

    def scan(letter, copy, *, clock):
        scanned.append(letter.pk)
        real(letter, copy, clock=clock)

    monkeypatch.setattr(scanning, "_scan", scan)
    assert sum(together(run, run)) == 6
    assert sorted(scanned) == sorted(letter.pk for letter in letters)
    assert lying(storage) == ["letters-invalid"] * 2 + ["letters-pdf"] * 4


@pytest.mark.django_db(transaction=True)
def test_two_workers_on_one_letter_leave_one_file_and_one_callback(scanner, storage):
    """As after a lease that ran out while its worker still works."""
    service = make_service()
    make_endpoint(service)
    letter = waiting(INFECTED, service=service)
    first = scanning.claim(now=NOW)
    second = scanning.claim(now=NOW + LEASE)

    def act(mine):
        try:
            with placing.fetched(mine) as copy:
                scanning._scan(mine, copy, clock=lambda: NOW + LEASE)
        except (FileNotFoundError, placing.PlaceTaken):
            pass  # the other one was quicker

    together(lambda: act(first), lambda: act(second))
    Letter.objects.filter(due_at__isnull=False).update(due_at=NOW)
    run(NOW + 2 * LEASE)
    assert found(letter)[1] == Status.VIRUS_SCAN_FAILED
    assert lying(storage) == ["letters-invalid"]
    assert (Callback.objects.count(), Alert.objects.count()) == (1, 1)


# --- cancelled meanwhile ---------------------------------------------------------------------------------------------


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

    def scan(file):
        settle([Move(letter.pk, Status.CANCELLED)], now=NOW)
        return real(file)

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
    began = time.monotonic()
    assert scan_letters() == {"handled": 1}
    assert time.monotonic() - began < 50
    assert list(Letter.objects.ready()) == [letter]
    assert scan_letters() == {"handled": 0}
