"""Rendering: what is tried again, what is given up, and who is told."""

import hashlib
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet

from letters import rendering, typesetting
from letters.models import Letter
from letters.tests import renderings
from letters.tests.renderings import NOW, SECOND, Disk, bytes_of, fresh, open_alerts, render, stored, waiting
from notify import missing_key
from notify.testing import make_letter, make_template

pytestmark = pytest.mark.django_db
impatient = renderings.impatient


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


def test_letters_whose_key_is_missing_wait_without_using_up_tries_until_it_is_back(impatient, settings):
    keys, away = settings.ENCRYPTION_KEYS, [Fernet.generate_key().decode()]
    settings.ENCRYPTION_KEYS = away
    letter = waiting()
    settings.ENCRYPTION_KEYS = keys
    other, now = waiting(), NOW
    for _ in range(2 * settings.LETTER_RENDERING_ATTEMPTS_LIMIT):
        render(now)
        now += missing_key.AGAIN
    kept = fresh(letter)
    assert (kept.attempts, kept.last_error, kept.due_at) == (0, missing_key.REASON, now)
    assert (kept.notification.status, kept.pdf.name) == ("created", "")
    assert fresh(other).pdf
    assert open_alerts() == [("encryption-key-missing", "letters")]
    settings.ENCRYPTION_KEYS = [*keys, *away]
    assert render(now) == 1
    assert (bool(fresh(letter).pdf), fresh(letter).last_error, open_alerts()) == (True, "", [])
