"""The judgement of the drills of letters would notice what it looks for."""

import random
import shutil
import socket
import threading
from datetime import UTC, date, datetime

import pytest

from drills.house import House, NotAsExpected
from drills.letters_days import CHECKS, bank_holiday, clocks_change, expect
from drills.letters_lines import cutting_proxy, judge_scan, whole
from drills.letters_made import make_letters, spoil, standing
from drills.letters_site import Site
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


@pytest.mark.parametrize("drill", [clocks_change, bank_holiday])
def test_the_days_that_are_not_like_others_are_survived(house, drill):
    keys = make_letters(12, random.Random(1), created_at=NOON)
    site = Site(house, random.Random(2), date(2026, 7, 1), keys, 1, [])
    assert drill(site)
    assert standing(house, keys) == (0, 0, [])


def test_a_check_that_says_nothing_on_the_day_after_the_holiday_is_noticed(house, monkeypatch):
    monkeypatch.setitem(CHECKS, "c", lambda now: 0)
    keys = make_letters(6, random.Random(1), created_at=NOON)
    with pytest.raises(NotAsExpected, match=r"check \(c\) at Tue 05 May"):
        bank_holiday(Site(house, random.Random(2), date(2026, 7, 1), keys, 1, []))


def test_a_part_under_a_whole_files_name_is_noticed(house):
    make_letters(6, random.Random(1), created_at=NOON)
    collate()
    whole(house, house.var / "postal")
    path = zips(house.var)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotAsExpected, match="is none"):
        whole(house, house.var / "postal")


def test_a_letter_called_clean_unscanned_is_noticed(house):
    [key] = make_letters(1, random.Random(1), created_at=NOON)
    with pytest.raises(NotAsExpected, match="should be"):
        judge_scan(house, [], [key], 1)  # created, but without a verdict
    house.query("UPDATE letters_letter SET scan_verdict = 'clean', scanned_sha256 = sha256")
    judge_scan(house, [], [key], 2)
    with pytest.raises(NotAsExpected, match="“clean” 1 times"):
        judge_scan(house, [], [key], 1)


def test_the_line_is_cut_after_exactly_so_many_bytes():
    got = []
    with socket.create_server(("127.0.0.1", 0)) as server, cutting_proxy(server.getsockname()[1]) as proxy:
        proxy.left = 100_000

        def take():
            line, _ = server.accept()
            with line:
                while data := line.recv(10_000):
                    got.append(data)

        taker = threading.Thread(target=take)
        taker.start()
        with socket.create_connection(("127.0.0.1", proxy.port)) as line, pytest.raises(OSError):  # noqa: PT012
            while True:
                line.sendall(bytes(10_000))
        taker.join(30)
    assert sum(map(len, got)) == 100_000


def test_what_is_not_expected_is_said():
    with pytest.raises(NotAsExpected, match="zips: 2, and it must be 1"):
        expect("zips", 2, 1)
