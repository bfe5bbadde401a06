"""A loop that found nothing stays a little longer."""

import time
from datetime import timedelta

from notify import loops


def test_linger_counts_its_patience_from_the_last_find(settings):
    settings.LOOP_LINGER_FOR = timedelta(seconds=0.35)
    found = [3, 0, 2, 0, 0, 4] + [0] * 20
    assert loops.linger(lambda: found.pop(0), until=time.monotonic() + 60) == 9
    assert len(found) > 10  # it did not go on for ever


def test_linger_ends_at_its_time():
    started = time.monotonic()
    assert loops.linger(lambda: 1, until=started + 0.1) >= 1
    assert time.monotonic() - started < 10  # and not for ever
    assert loops.linger(lambda: 1, until=time.monotonic() - 1) == 0
