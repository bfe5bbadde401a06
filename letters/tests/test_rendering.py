"""Rendering: letters made from a template get their PDF, whatever happens meanwhile."""

import hashlib
import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from callbacks.models import Callback
from jobs.models import Job
from letters import claiming, rendering, retention_files, typesetting
from letters.letter_content import letter_data
from letters.models import Letter
from letters.preview import page_count
from notify.loops import InTransaction
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_job, make_letter, make_service, make_template
from notify.tests.together import together
from providers.words import Words

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def impatient(settings, tmp_path):
    """Loops end as soon as nothing is due; PDFs lie in a folder of the test's own."""
    settings.LOOP_LINGER_FOR = timedelta(0)
    place = {"BACKEND": "letters.tests.test_rendering.Disk", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"letters-pdf": place}
    Disk.broken.clear()
    return tmp_path


class Disk(FileSystemStorage):
    """A real folder that can be made to fail."""

    broken: set[str] = set()

    def _save(self, name, content):
        if "half" in self.broken:
            super()._save(name, ContentFile(b"%PDF-half"))
        if self.broken & {"save", "half"}:
            raise OSError(28, "No space left on device")
        return super()._save(name, content)

    def delete(self, name):
        if "delete" in self.broken:
            raise PermissionError(13, "no")
        super().delete(name)


def waiting(**fields):
    fields = {"created_at": NOW - timedelta(hours=1), "pdf": None} | fields
    return make_letter(**fields)


def render(now=NOW):
    return rendering.render_due(clock=lambda: now)


def fresh(letter):
    return Letter.objects.select_related("notification").get(pk=letter.pk)


def bytes_of(letter):
    with storages["letters-pdf"].open(letter.pdf.name) as file:
        return file.read()


def stored(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.pdf"))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope"))


def test_a_letter_gets_its_pdf_and_is_ready_to_print(impatient):
    letter = waiting()
    assert rendering.due(now=NOW).count == 1
    assert render() == 1
    letter = fresh(letter)
    pdf = bytes_of(letter)
    assert letter.pdf.name == f"2026-03-29/{letter.pk}.pdf"
    assert stored(impatient) == [letter.pdf.name]
    assert (letter.sha256, letter.pages) == (hashlib.sha256(pdf).hexdigest(), 1)
    assert (letter.due_at, letter.claimed_at, letter.attempts, letter.last_error) == (None, None, 1, "")
    assert letter.notification.status == "created"
    assert list(Letter.objects.ready()) == [letter]
    assert render() == 0
    assert rendering.due(now=NOW).count == 0


def test_the_same_letter_is_always_the_same_bytes():
    letter = waiting()
    render()
    first = fresh(letter).sha256
    Letter.objects.update(due_at=NOW, sha256="")
    render(NOW + timedelta(days=1))
    assert fresh(letter).sha256 == first


def test_due_means_made_from_a_template_still_created_and_the_time_has_come():
    letters = {
        "due": waiting(due_at=NOW - SECOND),
        "exactly now": waiting(due_at=NOW),
        "not yet": waiting(due_at=NOW + SECOND),
        "precompiled": waiting(kind="precompiled", due_at=NOW),
        "cancelled": waiting(status="cancelled", due_at=NOW),
        "done": make_letter(),
    }
    found = set(Letter.objects.renderable(NOW))
    assert [label for label, letter in letters.items() if letter in found] == ["due", "exactly now"]
    assert render() == 2
    assert fresh(letters["cancelled"]).due_at is None
    assert fresh(letters["cancelled"]).pdf.name == ""


def test_a_letter_of_ten_pages_goes_and_one_of_eleven_is_told_to_its_service_and_leaves_no_file(impatient, settings):
    service = make_service()
    make_endpoint(service)
    template = make_template(service, "letter", subject="", content="((text))")
    most = most_lines(template, pages=10)
    letters = {
        pages: waiting(template=template, personalisation={"text": "x\n" * (lines - 1) + "x"})
        for pages, lines in {1: 1, 10: most, 11: most + 1}.items()
    }
    render()
    told = fresh(letters[11])
    assert {pages: fresh(letters[pages]).pages for pages in (1, 10)} == {1: 1, 10: 10}
    assert told.notification.status == "validation-failed"
    assert told.notification.status_reason.startswith("LETTER_PAGES: The letter has 11 pages, limit 10.")
    assert (told.pdf.name, told.sha256, told.due_at, told.claimed_at) == ("", "", None, None)
    assert len(stored(impatient)) == 2
    assert [row.notification_id for row in Callback.objects.all()] == [told.pk]
    assert render() == 0


def most_lines(template, *, pages):
    """Return how many lines a letter of this many pages can have."""
    typesetter = typesetting.Typesetter()
    few, many = 1, 1_000
    while many - few > 1:
        tried = (few + many) // 2
        letter = waiting(template=template, personalisation={"text": "x\n" * (tried - 1) + "x"}, due_at=None)
        pdf = typesetter.pdf(letter_data(letter.notification, Words()), made_at=NOW)
        few, many = (tried, many) if page_count(pdf) <= pages else (few, tried)
    return few


def test_what_cannot_be_printed_is_validation_failed_with_its_reason(settings):
    settings.LETTER_CHARACTER_LIMIT = 100
    template = make_template(None, "letter", subject="", content="((name))")
    reasons = {
        "漢": 'LETTER_CHARACTER: The text has "漢" (U+6F22)',
        "a\x07b": 'LETTER_CHARACTER: The text has "\\x07" (U+0007)',
        " ": "MESSAGE_EMPTY",
        "x" * 101: "MESSAGE_TOO_LONG",
    }
    letters = {name: waiting(template=template, personalisation={"name": name}) for name in reasons}
    absent = waiting(template=template, personalisation={})
    wide = waiting(recipient="\n".join([*["W" * 70] * 6, "AB1 2CD"]))
    render()
    for name, reason in reasons.items():
        letter = fresh(letters[name])
        assert letter.notification.status == "validation-failed"
        assert letter.notification.status_reason.startswith(reason)
    assert fresh(absent).notification.status_reason.startswith("VALUE_MISSING")
    assert fresh(wide).notification.status_reason.startswith("ADDRESS_TOO_LONG")


def test_the_letter_says_what_its_version_of_the_template_said():
    template = make_template(None, "letter", content="Old words")
    letter = waiting(template=template)
    template.content = "\n".join(["New words"] * 100)
    template.save()
    newer = waiting(template=template)
    render()
    assert [fresh(letter).pages, fresh(newer).pages] == [1, 3]


def test_a_letter_that_cannot_be_typeset_is_tried_again_then_fails_and_says_so_once_per_template(
    impatient, monkeypatch, settings, caplog
):
    template = make_template(None, "letter")
    letters = [waiting(template=template), waiting(template=template)]

    def broken(self, data, *, made_at):
        raise RuntimeError("out of order")

    monkeypatch.setattr(typesetting.Typesetter, "pdf", broken)
    now = NOW
    for attempt in range(1, settings.LETTER_RENDERING_ATTEMPTS_LIMIT):
        assert render(now) == 2
        letter = fresh(letters[0])
        wait = rendering.BACKOFF[attempt - 1]
        assert wait * 0.8 <= (letter.due_at - now).total_seconds() <= wait * 1.2
        assert (letter.attempts, letter.last_error, letter.claimed_at) == (attempt, "RuntimeError", None)
        assert letter.notification.status == "created"
        assert render(letter.due_at - timedelta(seconds=wait * 0.5)) == 0
        now += timedelta(hours=2)
    assert ("letter-not-rendered", "letters-pdf") in open_alerts()
    assert render(now) == 2
    letter = fresh(letters[0])
    assert letter.notification.status == "technical-failure"
    assert letter.notification.status_reason == "the letter could not be rendered (RuntimeError)"
    assert (letter.pdf.name, letter.due_at) == ("", None)
    assert open_alerts() == [("letter-not-rendered", f"template {template.pk}")]
    assert stored(impatient) == []
    assert "Person" not in caplog.text


@pytest.mark.parametrize("how", ["save", "half"])
def test_a_storage_that_fails_is_tried_until_it_works_and_alerted_after_three_tries(impatient, how, caplog):
    letter = waiting()
    Disk.broken.add(how)
    now = NOW
    for attempt in range(1, 7):
        assert render(now) == 1
        assert open_alerts() == ([("letter-not-rendered", "letters-pdf")] if attempt >= 3 else [])
        now += timedelta(hours=2)
    assert fresh(letter).notification.status == "created"
    assert fresh(letter).last_error == "storage: OSError"
    assert not Letter.objects.ready()
    Disk.broken.clear()
    assert render(now) == 1
    letter = fresh(letter)
    assert stored(impatient) == [letter.pdf.name]
    assert letter.sha256 == hashlib.sha256(bytes_of(letter)).hexdigest()
    assert open_alerts() == []


def test_a_file_that_cannot_be_deleted_keeps_its_name_and_its_letter_waits(impatient):
    letter = waiting()
    Disk.broken.add("half")
    render()
    left = fresh(letter).pdf.name
    Disk.broken = {"delete"}
    assert render(NOW + timedelta(hours=2)) == 1
    assert (fresh(letter).pdf.name, fresh(letter).claimed_at) == (left, None)
    assert not Letter.objects.ready()
    Disk.broken.clear()
    assert render(NOW + timedelta(hours=4)) == 1
    assert stored(impatient) == [fresh(letter).pdf.name]


def test_killed_between_storing_and_writing_the_next_claim_makes_it_anew(impatient, monkeypatch, settings):
    letter = waiting()
    monkeypatch.setattr(rendering, "finish", lambda done, now: done and exit())
    with pytest.raises(SystemExit):
        render()
    monkeypatch.undo()
    assert stored(impatient) == [fresh(letter).pdf.name]  # the row knows of the file
    assert not Letter.objects.ready()
    lease = settings.LETTER_RENDERING_LEASE
    assert render(NOW + lease - SECOND) == 0
    assert render(NOW + lease) == 1
    letter = fresh(letter)
    assert (letter.attempts, letter.pdf.name) == (2, f"2026-03-29/{letter.pk}-2.pdf")
    assert stored(impatient) == [letter.pdf.name]
    assert list(Letter.objects.ready()) == [letter]


def test_a_letter_cancelled_meanwhile_stays_without_pdf(impatient):
    letter = waiting()
    claimed = claiming.claim(10, now=NOW)
    Notification.objects.filter(pk=letter.pk).update(status="cancelled")
    rendering.finish([stored_as_made(one) for one in claimed], now=NOW)
    letter = fresh(letter)
    assert (letter.pdf.name, letter.sha256, letter.due_at, letter.claimed_at) == ("", "", None, None)
    assert stored(impatient) == []


def stored_as_made(letter):
    """Store a letter's file as the loop does, without writing what became of it."""
    made = claiming.Made(letter, "0" * 64, 1)
    return rendering._store(made, b"%PDF-1.7")


def test_a_worker_that_slept_past_its_lease_changes_nothing_of_what_a_later_one_made(impatient, settings):
    letter = waiting()
    (slow,) = claiming.claim(10, now=NOW)
    late = NOW + settings.LETTER_RENDERING_LEASE
    assert render(late) == 1
    done = fresh(letter)
    rendering.finish([stored_as_made(slow)], now=late)
    rendering.finish([claiming.Made(slow, problem="LETTER_PAGES: too many")], now=late)
    rendering.finish([claiming.Made(slow, error="RuntimeError")], now=late)
    letter = fresh(letter)
    assert (letter.pdf.name, letter.sha256, letter.attempts) == (done.pdf.name, done.sha256, 2)
    assert letter.notification.status == "created"
    assert stored(impatient) == [letter.pdf.name]


def test_a_letter_whose_worker_always_dies_is_claimed_alone_last_and_given_up(settings):
    sick = [waiting(attempts=3, claimed_at=NOW, due_at=NOW - SECOND) for _ in range(2)]
    well = waiting(due_at=NOW)
    assert [letter.pk for letter in claiming.claim(10, now=NOW)] == [well.pk]
    (alone,) = claiming.claim(10, now=NOW)
    assert alone.pk in {letter.pk for letter in sick}
    Letter.objects.filter(pk=alone.pk).update(claimed_at=NOW, due_at=NOW, attempts=4)
    Letter.objects.exclude(pk=alone.pk).update(due_at=None)
    assert render() == 1
    given_up = fresh(alone).notification
    assert given_up.status == "technical-failure"
    assert "the worker stopped" in given_up.status_reason


@pytest.mark.django_db(transaction=True)
def test_two_loops_at_once_share_the_letters(impatient, settings):
    settings.LETTER_RENDERING_BATCH = 3
    letters = [waiting() for _ in range(20)]
    handled = together(render, render)
    assert sum(handled) == 20
    assert len(stored(impatient)) == 20
    assert set(Letter.objects.values_list("attempts", flat=True)) == {1}
    assert Letter.objects.ready().count() == len(letters)


@pytest.mark.django_db(transaction=True)
def test_letters_another_worker_is_claiming_are_passed_over():
    first, second = waiting(), waiting()
    locked, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            list(Letter.objects.filter(pk=first.pk).select_for_update())
            locked.set()
            done.wait(5)

    def other():
        locked.wait(5)
        keys = [letter.pk for letter in claiming.claim(10, now=NOW)]
        done.set()
        return keys

    assert together(hold, other)[1] == [second.pk]


@pytest.mark.django_db(transaction=True)
def test_rendering_refuses_to_run_inside_a_transaction():
    with transaction.atomic(), pytest.raises(InTransaction):
        render()


def test_the_alert_counts_only_letters_nobody_is_working_on():
    letters = {
        "third try failed": waiting(attempts=3, due_at=NOW + SECOND),
        "two tries": waiting(attempts=2, due_at=NOW + SECOND),
        "third try running": waiting(attempts=3, claimed_at=NOW, due_at=NOW + SECOND),
        "third try's worker died": waiting(attempts=3, claimed_at=NOW, due_at=NOW),
        "cancelled": waiting(attempts=3, due_at=NOW, status="cancelled"),
        "done": make_letter(attempts=3),
    }
    found = set(Letter.objects.rendered_in_vain(NOW))
    assert [label for label, letter in letters.items() if letter in found] == [
        "third try failed", "third try's worker died",
    ]  # fmt: skip


def test_queries_do_not_grow_with_the_number_of_letters():
    template = make_template(None, "letter")

    def queries(number):
        for _ in range(number):
            waiting(template=template)
        with CaptureQueriesContext(connection) as counted:
            assert render() == number
        return len(counted)

    assert queries(40) == queries(1)


def test_retention_finds_the_file_by_the_name_on_the_row(impatient):
    letter = waiting()
    render()
    assert len(stored(impatient)) == 1
    assert retention_files.run([letter.pk], now=NOW) == 1
    assert stored(impatient) == []


def test_retention_finds_the_file_of_a_worker_that_was_killed(impatient):
    letter = waiting()
    (claimed,) = claiming.claim(1, now=NOW)
    stored_as_made(claimed)
    assert len(stored(impatient)) == 1
    retention_files.run([letter.pk], now=NOW)
    assert stored(impatient) == []


def test_a_letter_whose_words_cannot_be_read_does_not_stop_the_others(settings, caplog):
    good, bad = waiting(), waiting()
    Notification.objects.filter(pk=bad.pk).update(template_version=99)
    caplog.set_level(logging.CRITICAL)
    assert render() == 2
    assert fresh(good).sha256
    assert fresh(bad).last_error == "DoesNotExist"


def test_a_job_of_letters_becomes_pdfs_and_its_bad_row_has_a_reason(impatient):
    from jobs.processing import claim_job, process_rows

    job = make_job(5, template=make_template(None, "letter"), status=Job.Status.PENDING)
    assert process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW)
    assert render() == 5
    for letter in Letter.objects.all():
        assert page_count(bytes_of(letter)) == letter.pages == 1
