"""Rendering: workers that die, sleep past their lease, or meet another."""

import threading
from concurrent.futures import Executor, Future

import pytest
from django.db import OperationalError, transaction

from letters import claiming, rendering, retention_files, typesetting
from letters.models import Letter
from letters.tests import renderings
from letters.tests.renderings import NOW, SECOND, fresh, render, stored, stored_as_made, waiting
from notify import loops
from notify.loops import InTransaction
from notify.models import Notification
from notify.tests.together import together

pytestmark = pytest.mark.django_db
impatient = renderings.impatient


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


def test_retention_finds_the_file_of_a_worker_that_was_killed(impatient):
    letter = waiting()
    (claimed,) = claiming.claim(1, now=NOW)
    stored_as_made(claimed)
    assert len(stored(impatient)) == 1
    retention_files.run([letter.pk], now=NOW)
    assert stored(impatient) == []


def test_the_next_batch_is_claimed_while_one_is_being_made(impatient, settings, monkeypatch):
    settings.LETTER_RENDERING_BATCH = 2
    for _ in range(6):
        waiting()
    claims, again, seen = [], threading.Event(), []
    real_claim, real_pdf = rendering.claim, typesetting.Typesetter.pdf

    def claim(*args, **kwargs):
        claims.append(real_claim(*args, **kwargs))
        if len(claims) == 2:
            again.set()
        return claims[-1]

    def pdf(*args, **kwargs):
        seen.append(again.wait(5))
        return real_pdf(*args, **kwargs)

    monkeypatch.setattr(rendering, "claim", claim)
    monkeypatch.setattr(typesetting.Typesetter, "pdf", pdf)
    assert render() == 6
    assert [len(batch) for batch in claims] == [2, 2, 2, 0]
    assert seen == [True] * 6
    assert Letter.objects.ready().count() == len(stored(impatient)) == 6


def test_the_batch_that_is_being_made_is_written_when_the_next_cannot_be_claimed_or_the_worker_is_to_stop(
    settings, monkeypatch
):
    settings.LETTER_RENDERING_BATCH = 1
    first, second, third = (waiting(due_at=NOW - place * SECOND) for place in (3, 2, 1))
    real, claims = rendering.claim, []

    def claim(*args, **kwargs):
        claims.append(1)
        if len(claims) == 2:
            raise OperationalError("the line is down")
        return real(*args, **kwargs)

    monkeypatch.setattr(rendering, "claim", claim)
    with pytest.raises(OperationalError):
        render()
    assert list(Letter.objects.ready()) == [first]
    monkeypatch.setattr(loops, "stopping", lambda: len(claims) > 2)
    assert render() == 1
    assert set(Letter.objects.ready()) == {first, second}
    assert fresh(third).attempts == 0


def test_while_a_storage_takes_its_time_the_letters_stay_held(settings, monkeypatch):
    settings.LETTER_RENDERING_BATCH = 1
    settings.LETTER_RENDERING_LEASE = 0.03 * SECOND
    for place in (2, 1):
        waiting(due_at=NOW - place * SECOND)
    renewed, clock, real = threading.Event(), iter(range(10**6)), rendering.renew
    held = []

    def renew(letters, *, now):
        real(letters, now=now)
        held.append((len(letters), set(Letter.objects.values_list("due_at", flat=True)) == {now + 0.03 * SECOND}))
        if len(held) == 3:
            renewed.set()

    monkeypatch.setattr(rendering, "renew", renew)
    monkeypatch.setattr(renderings.Disk, "_save", _after(renewed, renderings.Disk._save))
    assert rendering.render_due(clock=lambda: NOW + next(clock) * SECOND * 0.001) == 2
    assert held[:3] == [(2, True)] * 3
    assert list(Letter.objects.values_list("attempts", flat=True)) == [1, 1]
    assert Letter.objects.ready().count() == 2


def _after(event, save):
    """Return a way to save that waits for an event first."""

    def slow(disk, name, content):
        assert event.wait(10)
        return save(disk, name, content)

    return slow


def test_a_letter_that_was_cancelled_or_claimed_by_another_is_not_held_on(settings):
    mine, cancelled, others = (waiting() for _ in range(3))
    claimed = claiming.claim(10, now=NOW)
    Letter.objects.filter(pk=cancelled.pk).update(claimed_at=None, due_at=None)
    Letter.objects.filter(pk=others.pk).update(attempts=2)
    claiming.renew(claimed, now=NOW + SECOND)
    lease = settings.LETTER_RENDERING_LEASE
    assert [fresh(one).due_at for one in (mine, cancelled, others)] == [NOW + SECOND + lease, None, NOW + lease]
    claiming.renew([], now=NOW)


class AtOnce(Executor):
    """Does what is submitted then and there."""

    def submit(self, function, *args):
        """Return what became of it."""
        done = Future()
        done.set_result(function(*args))
        return done


def test_a_letter_whose_worker_stopped_is_made_while_nothing_else_is_unwritten(settings, monkeypatch):
    settings.LETTER_RENDERING_BATCH = 1
    before = waiting(due_at=NOW - 3 * SECOND)
    sick = waiting(due_at=NOW - 2 * SECOND, claimed_at=NOW - 9 * SECOND, attempts=1)
    after = waiting(due_at=NOW - SECOND)
    real, written = typesetting.Typesetter.pdf, []

    def pdf(*args, **kwargs):
        written.append(set(Letter.objects.ready()))
        return real(*args, **kwargs)

    monkeypatch.setattr(typesetting.Typesetter, "pdf", pdf)
    rendered = rendering.Rendering(AtOnce(), AtOnce(), lambda: NOW)
    for _ in range(3):
        assert rendered.step() == 1
        written.append(set(Letter.objects.ready()))
    rendered.close()
    assert written == [set(), set(), {before}, {before, sick}, {before, sick}, {before, sick}]
    assert set(Letter.objects.ready()) == {before, sick, after}
