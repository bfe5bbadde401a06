"""The slow rule over minutes that are past: the same decisions, and what they would have changed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from providers.models import SwitchPolicy
from providers.replay import Replay
from providers.replay_values import Carrier, Group, HandChange, Sample

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def policy(**fields):
    return SwitchPolicy(notification_type="sms", **fields)


def minute_of(provider, minute, count, *, slow=0):
    """Messages sent in one minute, some of them slow for good: ten minutes in the sample, slow from the fourth on."""
    for number, from_minute in ((count - slow, minute + 11), (slow, minute + 4)):
        if number:
            yield Group(provider, minute, minute + 11, from_minute, minute + 11, number)


def traffic(minutes, slow):
    """Ten messages by each of two providers every minute; slow: {provider: range of minutes in which half are}."""
    for minute in range(minutes):
        for provider in ("firetext", "mmg"):
            yield from minute_of(provider, minute, 10, slow=5 * (minute in slow.get(provider, ())))


def two(**fields):
    return [Carrier("firetext", 50, 50), Carrier("mmg", 50, 50, **fields)]


def replayed(slow, minutes=240, carriers=None, **fields):
    return Replay(carriers or two(), policy(**fields), START).run(traffic(minutes, slow), minutes)


def test_nothing_slow_moves_nothing():
    done = replayed({})
    assert (done.switches, done.flaps, done.all_slow_minutes) == ([], 0, 0)
    assert [(one.sent, one.while_slow, one.unknown) for one in done.carried.values()] == [(2_390, 0, 0)] * 2


def test_traffic_leaves_in_the_minute_in_which_a_fifth_is_slow():
    done = replayed({"mmg": range(60, 120)})
    first = done.switches[0]
    # At 9:00 + 60 + 7: eleven minutes are in the sample, of them four of five slow ones each: 20 of 110. A minute
    # later 25 of 110 are over a fifth.
    assert (first.at, first.slow, first.shares) == (START + 68 * MINUTE, ("mmg",), {"firetext": 100, "mmg": 0})
    assert first.described == "mmg (25 of 110 messages)"
    assert not first.flap


def test_what_would_have_gone_through_the_slow_one_is_told_beside_what_really_did():
    carried = replayed({"mmg": range(60, 120)}).carried["mmg"]
    # Really slow from minute 68 up to 125, when the sample still has the five slow minutes 115 to 119.
    assert carried.slow_minutes == 58
    assert carried.while_slow == 580
    assert carried.replayed == 10  # half of the minute in which it was seen; traffic comes back only after an hour
    assert carried.unknown == 0


def test_after_an_hour_traffic_comes_back_by_a_step_and_no_sooner():
    curve = {point.at: point.share for point in replayed({"mmg": range(60, 120)}).curves["mmg"]}
    assert curve[START + 67 * MINUTE] == 50
    assert curve[START + 69 * MINUTE] == curve[START + 129 * MINUTE] == 0
    assert curve[START + 130 * MINUTE] == 10


def test_a_switch_back_within_the_hour_is_a_flap():
    slow = {"mmg": range(60, 70), "firetext": range(90, 100)}
    assert [switch.flap for switch in replayed(slow).switches] == [False, True]
    later = {"mmg": range(60, 70), "firetext": range(150, 160)}
    assert [switch.flap for switch in replayed(later).switches] == [False, False]


def test_messages_the_replay_would_not_have_sent_there_are_not_in_the_sample():
    """Firetext gets slow while mmg still is: the rule sees only firetext, because nothing goes by mmg any more."""
    done = replayed({"mmg": range(60, 98), "firetext": range(90, 110)})
    assert [(switch.slow, switch.flap) for switch in done.switches] == [(("mmg",), False), (("firetext",), True)]
    assert done.all_slow_minutes == 0


def test_all_slow_moves_nothing_and_is_counted():
    done = replayed({"mmg": range(60, 120), "firetext": range(60, 120)})
    assert (done.switches, done.all_slow_minutes) == ([], 58)


def test_a_higher_threshold_and_a_larger_sample_move_later_or_never():
    # The last four minutes cannot be slow yet, so half of the messages are at most 35 of 110 in the sample.
    assert replayed({"mmg": range(60, 120)}, threshold=0.3).switches[0].at == START + 70 * MINUTE
    assert replayed({"mmg": range(60, 120)}, threshold=0.32).switches == []
    assert replayed({"mmg": range(60, 120)}, minimum_sample=111).switches == []


def test_a_step_moves_part_and_waits_until_the_shares_settled():
    done = replayed({"mmg": range(60, 120)}, step=20)
    assert [switch.shares["mmg"] for switch in done.switches] == [30, 10, 0]
    times = [switch.at for switch in done.switches]
    assert [after - before for before, after in pairwise(times)] == [11 * MINUTE] * 2


def test_a_change_before_the_start_still_settles():
    done = Replay(two(), policy(), START, last_change=START - MINUTE)
    done.run(traffic(30, {"mmg": range(-20, 30)}), 30)
    assert done.switches[0].at == START + 10 * MINUTE


def test_a_change_by_hand_is_made_again_and_what_a_person_took_out_stays_out():
    changes = [HandChange(30, "firetext", 0), HandChange(100, "firetext", 40)]
    done = Replay(two(), policy(), START, hand_changes=changes)
    done.run(traffic(180, {"mmg": range(60, 180)}), 180)
    assert done.all_slow_minutes == 100 - 68  # mmg alone is left
    assert done.switches[0].at == START + 111 * MINUTE
    assert done.switches[0].shares == {"firetext": 90, "mmg": 0}


def test_messages_given_to_a_provider_that_really_carried_none_are_called_unknown():
    groups = [group for minute in range(60) for group in minute_of("mmg", minute, 10, slow=5 * (minute >= 20))]
    done = Replay(two(), policy(), START).run(groups, 60)
    assert done.switches[0].slow == ("mmg",)
    assert done.carried["firetext"].unknown == pytest.approx(28 * 5 + 31 * 10)
    assert done.carried["mmg"].unknown == 0


def test_a_message_of_a_provider_that_is_gone_is_passed_over():
    groups = list(minute_of("once", 5, 100, slow=100))
    done = Replay(two(), policy(), START).run(groups, 30)
    assert (done.switches, set(done.carried)) == ([], {"firetext", "mmg"})


def test_a_curve_stays_short_however_long_the_time():
    done = Replay(two(), policy(), START).run([], 90 * 1_440)
    assert all(len(points) <= 290 for points in done.curves.values())
    assert {point.ratio for point in done.curves["mmg"]} == {None}


def test_running_sums_count_a_group_only_while_it_is_seen():
    sample, seen = Sample(), []
    for minute in range(8):
        if minute == 2:
            sample.add(Group("mmg", 1, 6, 4, 5, 3), minute)  # entered before: counted from now on
            sample.add(Group("mmg", 0, 2, 0, 2, 9), minute)  # gone already
        sample.advance(minute)
        seen.append((sample.slow, sample.total))
    assert seen == [(0, 0), (0, 0), (0, 3), (0, 3), (3, 3), (0, 3), (0, 0), (0, 0)]
