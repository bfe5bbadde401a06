"""The judgement of the drills of letters would notice what it looks for."""

import random
import shutil
from datetime import UTC, datetime

import pytest

from drills.house import House
from drills.letters_made import make_letters, spoil, standing
from letters import print_run
from letters.tests.storages import use_folders, zips
from notify.models import Notification
from notify.processes import StopSignals

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)


@pytest.fixture
def house(settings, tmp_path):
    use_folders(settings, tmp_path)
    made = House(tmp_path, {}, StopSignals())
    with made.processes:
        yield made


def collate():
    print_run.collate(clock=lambda: AT)


def test_after_a_good_run_nothing_is_lost_doubled_or_broken(house):
    keys = make_letters(20, random.Random(1), created_at=NOON)
    assert standing(house, keys)[0] == 20
    collate()
    assert standing(house, keys) == (0, 0, [])


def test_letters_in_no_zip_and_in_two_are_counted(house):
    keys = make_letters(20, random.Random(1), created_at=NOON)
    collate()
    first, second = zips(house.var)[:2]
    shutil.copy(first, first.with_name("again.zip"))
    second.unlink()
    lost, doubled, broken = standing(house, keys)
    assert lost > 0
    assert doubled > 0
    assert broken == [f"zip {second.name} is not what its row says"]


def test_spoiled_letters_must_fail_and_good_ones_must_not(house):
    keys = make_letters(20, random.Random(1), created_at=NOON)
    bad = keys[:6]
    assert sum(spoil(house, bad, random.Random(2)).values()) == 6
    collate()
    assert standing(house, keys, spoiled=bad) == (0, 0, [])
    assert standing(house, keys)[2] != []
    Notification.objects.filter(pk=keys[-1]).update(status="technical-failure")
    assert standing(house, keys, spoiled=bad)[2] == [f"letter {keys[-1]} is “technical-failure”"]
