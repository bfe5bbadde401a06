"""Charts as plain values: places, gaps, round axes, local times, and no way to smuggle markup in."""

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from providers import health_charts as charts
from providers.health_charts import Frame, bars, chart, events, level, line, round_up, steps

START = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FRAME = Frame(START, START + HOUR, 100)


def drawn(*layers, frame=FRAME):
    """Return a chart as a tree: it must be well-formed."""
    text = chart("slow", "Slow messages", "At its worst 5 %.", frame, *layers)
    return ElementTree.fromstring(text)


def labels(frame):
    return [node.text for node in drawn(frame=frame).iter("text") if node.get("text-anchor") == "middle"]


def test_places_are_inside_the_frame():
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    assert (FRAME.x(START), FRAME.x(START + HOUR)) == (left, right)
    assert (FRAME.x(START - HOUR), FRAME.x(START + 2 * HOUR)) == (left, right)
    assert (FRAME.y(0), FRAME.y(100), FRAME.y(1_000), FRAME.y(-1)) == (FRAME.floor, charts.TOP, charts.TOP, FRAME.floor)


def test_a_chart_says_what_it_shows_without_being_seen():
    tree = drawn()
    assert tree.get("role") == "img"
    assert tree.get("aria-labelledby") == "slow-title slow-text"
    assert [(node.get("id"), node.text) for node in tree if node.tag in ("title", "desc")] == [
        ("slow-title", "Slow messages"), ("slow-text", "At its worst 5 %.")
    ]  # fmt: skip


def test_nothing_is_drawn_that_a_strict_policy_forbids():
    columns = [(START, "told", [("good", 3), ("bad", 2)])]
    text = chart(
        "a", "b", "c", FRAME, bars(FRAME, columns, MINUTE), level(FRAME, 20, "threshold"),
        line(FRAME, [(START, 1), (START + HOUR, 2)], "slow"), events(FRAME, [(START, "1", "why")]),
    )  # fmt: skip
    assert not re.search(r"style=|<script|on\w+=|href", text)


def test_texts_are_escaped():
    told = '<script>alert("x")</script>'
    text = chart("a", told, told, FRAME, level(FRAME, 1, told), events(FRAME, [(START, "1", told)]),
                 bars(FRAME, [(START, told, [("good", 1)])], MINUTE))  # fmt: skip
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 5


def test_a_gap_splits_a_line_and_one_point_alone_is_a_dot():
    values = [1, 2, None, 3, None, None, 4, 5, 6]
    tree = drawn(line(FRAME, [(START + place * MINUTE, value) for place, value in enumerate(values)], "slow"))
    assert [len(node.get("points").split()) for node in tree.iter("polyline")] == [2, 3]
    assert len(list(tree.iter("circle"))) == 1
    assert line(FRAME, [(START, None)], "slow") == line(FRAME, [], "slow") == ""


def test_a_share_holds_until_the_next_change_and_to_the_end():
    tree = drawn(steps(FRAME, [(START, 50), (START + 30 * MINUTE, 0)], "share"))
    (node,) = tree.iter("polyline")
    middle, end = FRAME.x(START + 30 * MINUTE), FRAME.x(FRAME.end)
    assert node.get("points").split() == [
        f"{FRAME.x(START)},{FRAME.y(50)}", f"{middle},{FRAME.y(50)}", f"{middle},{FRAME.y(0)}", f"{end},{FRAME.y(0)}"
    ]  # fmt: skip
    assert steps(FRAME, [], "share") == ""


def test_a_column_is_stacked_and_an_empty_one_is_left_out():
    columns = [(START, "ten", [("good", 7), ("busy", 0), ("bad", 3)]), (START + MINUTE, "none", [("good", 0)])]
    tree = drawn(bars(FRAME, columns, MINUTE))
    good, bad = tree.iter("rect")
    assert (good.get("class"), bad.get("class")) == ("fill-good", "fill-bad")
    assert float(bad.get("y")) + float(bad.get("height")) == pytest.approx(float(good.get("y")), abs=0.2)
    assert [node.text for node in tree.iter("title")] == ["Slow messages", "ten"]


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.4, 1), (1, 1), (1.1, 2), (3, 4), (5, 5), (7, 8), (9, 10), (11, 20), (1_234, 2_000)]
)
def test_an_axis_ends_at_a_round_number(value, top):
    assert round_up(value) == top


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (1, ["09:15", "09:30", "09:45"]),
        (6, ["10:00", "11:00", "12:00", "13:00", "14:00"]),
        (24, ["12:00", "15:00", "18:00", "21:00", "Wed 25 Nov", "03:00", "06:00"]),
        (168, ["Wed 25 Nov", "Thu 26 Nov", "Fri 27 Nov", "Sat 28 Nov", "Sun 29 Nov", "Mon 30 Nov", "Tue 1 Dec"]),
    ],
)
def test_times_are_marked_at_round_local_hours(hours, shown):
    assert labels(Frame(START, START + hours * HOUR, 1)) == shown


def test_days_are_marked_at_local_midnight_on_both_sides_of_a_change_of_clocks():
    start = datetime(2026, 10, 23, 12, 0, tzinfo=UTC)
    frame = Frame(start, start + 168 * HOUR, 1)
    assert labels(frame)[:4] == ["Sat 24 Oct", "Sun 25 Oct", "Mon 26 Oct", "Tue 27 Oct"]
    places = [moment for moment, _ in charts._times(frame)]
    assert (places[1], places[2]) == (
        datetime(2026, 10, 24, 23, 0, tzinfo=UTC), datetime(2026, 10, 26, 0, 0, tzinfo=UTC)
    )  # fmt: skip
