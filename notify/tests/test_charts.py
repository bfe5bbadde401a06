"""Charts as inline SVG."""

import re
from xml.etree import ElementTree

import pytest

from notify.charts import Mark, Series, bar_chart, line_chart, percent, whole

DAYS = ["1 May", "2 May", "3 May", "4 May"]


def parsed(chart):
    return ElementTree.fromstring(str(chart))


def test_a_bar_stands_on_the_one_below_and_its_height_is_its_value():
    chart = bar_chart([Series("SMS", [100, 50, 0, 0]), Series("email", [100, 0, 0, 0])], labels=DAYS, title="Messages")
    bars = [found for found in parsed(chart).iter("rect") if found.get("y")]
    sms, email, half = [(float(found.get("y")), float(found.get("height"))) for found in bars]
    assert email[0] + email[1] == pytest.approx(sms[0])
    assert sms[1] == pytest.approx(email[1], abs=0.01) == pytest.approx(2 * half[1], abs=0.02)


def test_values_that_are_not_there_leave_a_gap_and_one_alone_is_a_dot():
    chart = str(line_chart([Series("SMS", [0.5, None, 0.9, 1.0])], labels=DAYS, title="Rate", top=1.0))
    assert chart.count("<circle") == 1
    (points,) = re.findall(r'points="([^"]+)"', chart)
    assert len(points.split()) == 2


def test_the_table_below_has_the_very_figures():
    chart = line_chart([Series("SMS", [0.5, None])], labels=DAYS[:2], title="Rate", shown=percent, top=1.0)
    cells = ["".join(cell.itertext()) for row in parsed(chart).iter("tr") for cell in row]
    assert cells == ["", "SMS", "1 May", "50.0\u00a0%", "2 May", "–"]


def test_title_and_description_are_there_for_those_who_do_not_see_it():
    chart = parsed(bar_chart([Series("SMS", [1, 7])], labels=DAYS[:2], title="Messages by day"))
    drawing = next(found for found in chart.iter("svg") if found.get("role") == "img")
    named = [drawing.find(f"*[@id='{name}']").text for name in drawing.get("aria-labelledby").split()]
    assert named[0] == "Messages by day"
    assert "1 May to 2 May; between 1 and 7" in named[1]


def test_threshold_and_marks_are_drawn_and_told():
    chart = str(
        line_chart(
            [Series("mmg", [0.1, 0.4])], labels=DAYS[:2], title="Slow", shown=percent, threshold=0.2,
            marks=[Mark(1, "traffic moved")],
        )
    )  # fmt: skip
    assert chart.count('class="chart-threshold"') == chart.count('class="chart-mark"') == 1
    assert "Threshold 20.0\u00a0%" in chart
    assert "2 May: traffic moved" in chart


@pytest.mark.parametrize("chart", [bar_chart, line_chart])
@pytest.mark.parametrize("series", [[], [Series("SMS", [])], [Series("SMS", [0, 0])], [Series("SMS", [None, None])]])
def test_nothing_and_zeros_can_be_drawn(chart, series):
    labels = DAYS[: len(series[0].values)] if series else []
    assert parsed(chart(series, labels=labels, title="Empty")).tag == "figure"


@pytest.mark.parametrize("highest", [1, 3, 7, 99, 100, 101, 4_000_000, 0.03])
def test_the_axis_reaches_above_the_highest_value_with_few_round_steps(highest):
    chart = line_chart([Series("SMS", [highest])], labels=["1 May"], title="High", shown=lambda value: f"{value:.4f}")
    ticks = [float(found.text) for found in parsed(chart).iter("text") if found.get("text-anchor") == "end"]
    assert ticks[-1] >= highest > ticks[-2]
    assert 2 <= len(ticks) <= 5


def test_a_year_of_days_has_few_labels():
    chart = bar_chart([Series("SMS", [1] * 366)], labels=[str(day) for day in range(366)], title="Year")
    assert 4 <= sum(found.get("text-anchor") == "middle" for found in parsed(chart).iter("text")) <= 8


def test_markup_in_names_is_text_and_nothing_needs_a_looser_policy():
    nasty = "<script>alert(1)</script>"
    chart = str(
        line_chart([Series(nasty, [1, 2])], labels=[nasty, "b"], title=nasty, marks=[Mark(0, nasty)], threshold=1)
    )
    assert "<script" not in chart
    assert " style=" not in chart
    assert parsed(chart).tag == "figure"


def test_a_series_keeps_the_colour_it_is_given():
    chart = str(line_chart([Series("email", [1, 2], 1)], labels=DAYS[:2], title="One"))
    assert 'class="chart-line chart-1"' in chart


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.0"), (0.0001, "0.1"), (0.5, "50.0"), (0.9999, "99.9"), (1, "100.0")]
)
def test_what_only_rounds_to_all_or_nothing_is_not_called_so(share, text):
    assert percent(share) == f"{text}\u00a0%"
    assert whole(12_345) == "12,345"
