"""The switch that stops all sending, moved by several people at once."""

from datetime import UTC, datetime, timedelta

import pytest

from notify.models import Alert
from notify.tests.together import together
from providers.models import Pause
from providers.pausing import pause_sending, resume_sending

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def alert_is_open():
    return Alert.objects.open().filter(kind="sending-paused").exists()


@pytest.mark.django_db
def test_the_alert_keeps_the_reason_of_the_pause_that_is_on():
    assert pause_sending(reason="first", now=NOW)
    assert not pause_sending(reason="second", now=NOW + SECOND)
    alert = Alert.objects.open().get()
    assert ("first" in alert.message, alert.times_seen) == (True, 1)


@pytest.mark.django_db
def test_a_pause_that_has_ended_cannot_be_resumed_again_and_leaves_a_later_one_on():
    pause_sending(reason="first", now=NOW)
    first = Pause.objects.get().pk
    assert resume_sending(now=NOW + SECOND, only=first)
    pause_sending(reason="second", now=NOW + 2 * SECOND)
    assert not resume_sending(now=NOW + 3 * SECOND, only=first)
    assert alert_is_open()
    assert resume_sending(now=NOW + 4 * SECOND)
    assert not alert_is_open()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_pause_at_once_one_does():
    done = together(*[lambda n=n: pause_sending(reason=f"by {n}", now=NOW + n * SECOND) for n in range(4)])
    assert sorted(done) == [False, False, False, True]
    assert Pause.objects.on().get().reason == f"by {done.index(True)}"
    assert f"by {done.index(True)}" in Alert.objects.open().get().message


@pytest.mark.django_db(transaction=True)
def test_whoever_pauses_while_another_resumes_the_alert_is_open_exactly_while_it_is_on():
    for turn in range(10):
        pause_sending(reason="before", now=NOW)
        resumed, paused = together(
            lambda: resume_sending(now=NOW + SECOND),
            lambda turn=turn: pause_sending(reason=f"turn {turn}", now=NOW + 2 * SECOND),
        )
        assert resumed is True
        assert Pause.objects.on().exists() is paused
        assert alert_is_open() is paused
        resume_sending(now=NOW + 3 * SECOND)
