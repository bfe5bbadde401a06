"""Rendering: letters made from a template get their PDF, or are refused with a reason."""

import hashlib
import logging
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from callbacks.models import Callback
from jobs.models import Job
from letters import rendering, retention_files, typesetting
from letters.letter_content import letter_data
from letters.models import Letter
from letters.preview import page_count
from letters.tests import renderings
from letters.tests.renderings import NOW, SECOND, bytes_of, fresh, render, stored, waiting
from notify.models import Notification
from notify.testing import make_endpoint, make_job, make_letter, make_service, make_template
from providers.words import Words

pytestmark = pytest.mark.django_db
impatient = renderings.impatient


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


def test_a_letter_whose_words_cannot_be_read_does_not_stop_the_others(settings, caplog):
    good, bad = waiting(), waiting()
    Notification.objects.filter(pk=bad.pk).update(template_version=99)
    caplog.set_level(logging.CRITICAL)
    assert render() == 2
    assert fresh(good).sha256
    assert fresh(bad).last_error == "DoesNotExist"


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


def test_a_job_of_letters_becomes_pdfs_and_its_bad_row_has_a_reason(impatient):
    from jobs.processing import claim_job, process_rows

    job = make_job(5, template=make_template(None, "letter"), status=Job.Status.PENDING)
    assert process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW)
    assert render() == 5
    for letter in Letter.objects.all():
        assert page_count(bytes_of(letter)) == letter.pages == 1
