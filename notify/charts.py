"""Charts as inline SVG, without script or inline style: colours come from `notify/charts.css`, light and dark.

Pure functions. Each chart is a figure with a title and a description for those who do not see it, a legend that does
not rest on colour alone, and a table below with the very same figures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify

WIDTH, HEIGHT = 760, 240  # of the drawing; it scales with the page
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 28  # around the plot
TICKS, LABELS = 4, 8  # at most, on the two axes
COLOURS = 6  # classes chart-0 … chart-5; a seventh series begins again
_NONE = SafeString("")


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one part of each bar. values: one per label; None where there is nothing to show.

    colour: 0 to 5, so that one thing keeps its colour over several charts; None: by its place.
    """

    name: str
    values: Sequence[float | None]
    colour: int | None = None

    def shade(self, place: int) -> int:
        """Return the number of its colour's class."""
        return (place if self.colour is None else self.colour) % COLOURS


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment worth a vertical line. place: index of the label it stands at."""

    place: int
    text: str


def whole(value: float) -> str:
    """Write a count, `12,345`."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """Write a share of 0 to 1, `97.4 %`; neither all nor nothing is said of what only rounds to it."""
    text = f"{value:.1%}"
    if value < 1 and text == "100.0%":
        text = "99.9%"
    elif value > 0 and text == "0.0%":
        text = "0.1%"
    return text.replace("%", "\u00a0%")


def line_chart(
    series: Sequence[Series],
    *,
    labels: Sequence[str],
    title: str,
    shown: Callable[[float], str] = whole,
    top: float | None = None,
    threshold: float | None = None,
    marks: Sequence[Mark] = (),
) -> SafeString:
    """Draw one line per series over the labels; a gap where a value is None, a dot where it stands alone.

    shown: how a value is written. top: upper end of the axis; None: what the values need.
    threshold: a value drawn as a dashed line across.
    """
    plot = _Plot(len(labels), top or max([*_all(series), threshold or 0]))
    drawn = [_line(one.values, one.shade(number), plot) for number, one in enumerate(series)]
    if threshold is not None:
        y = plot.y(threshold)
        drawn.append(format_html('<line class="chart-threshold" x1="{}" x2="{}" y1="{}" y2="{}"/>', LEFT,
                                 WIDTH - RIGHT, y, y))  # fmt: skip
    drawn.extend(
        format_html(
            '<line class="chart-mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"><title>{3}</title></line>',
            plot.x(mark.place), TOP, HEIGHT - BOTTOM, f"{labels[mark.place]}: {mark.text}",
        )
        for mark in marks
    )  # fmt: skip
    notes = [f"Threshold {shown(threshold)}"] if threshold is not None else []
    notes += [f"{labels[mark.place]}: {mark.text}" for mark in marks]
    return _figure(series, labels, title, shown, plot, drawn, notes)


def bar_chart(
    series: Sequence[Series], *, labels: Sequence[str], title: str, shown: Callable[[float], str] = whole
) -> SafeString:
    """Draw one bar per label, its parts (one per series) stacked from the ground up."""
    sums = [sum(one.values[place] or 0 for one in series) for place in range(len(labels))]
    plot = _Plot(len(labels), max(sums, default=0))
    width = max(0.5, round(plot.step * 0.8, 2))
    drawn = []
    for place, label in enumerate(labels):
        ground, parts = 0.0, []
        for number, one in enumerate(series):
            value = one.values[place] or 0
            if value:
                y = plot.y(ground + value)
                parts.append((one.shade(number), round(plot.x(place) - width / 2, 2), y, width,
                              round(plot.y(ground) - y, 2)))  # fmt: skip
            ground += value
        rectangles = format_html_join(
            "", '<rect class="chart-{}" x="{}" y="{}" width="{}" height="{}"/>', parts
        )  # fmt: skip
        told = ", ".join(f"{one.name} {_cell(one.values[place], shown)}" for one in series)
        drawn.append(format_html("<g><title>{}: {}</title>{}</g>", label, told, rectangles))
    return _figure(series, labels, title, shown, plot, drawn, [])


class _Plot:
    """Turns places and values into coordinates."""

    def __init__(self, places: int, highest: float) -> None:
        self.places = max(places, 1)
        self.step = (WIDTH - LEFT - RIGHT) / self.places
        self.tick = _nice(highest / TICKS)
        self.top = self.tick * max(1, math.ceil(round(highest / self.tick, 6)))

    def x(self, place: int) -> float:
        """Return the middle of a label's room."""
        return round(LEFT + self.step * (place + 0.5), 2)

    def y(self, value: float) -> float:
        """Return how far down a value lies; what does not fit ends at the edge."""
        share = min(1.0, max(0.0, value / self.top))
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)


def _nice(step: float) -> float:
    """Round up to 1, 2, 2.5 or 5 times a power of ten; a step of nothing is 1."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= step * 0.999999)


def _all(series: Sequence[Series]) -> list[float]:
    return [value for one in series for value in one.values if value is not None]


def _cell(value: float | None, shown: Callable[[float], str]) -> str:
    return "–" if value is None else shown(value)


def _line(values: Sequence[float | None], colour: int, plot: _Plot) -> SafeString:
    """Draw the runs of values between gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is not None:
            runs[-1].append((plot.x(place), plot.y(value)))
        elif runs[-1]:
            runs.append([])
    lines = [(colour, " ".join(f"{x},{y}" for x, y in run)) for run in runs if len(run) > 1]
    dots = [(colour, *run[0]) for run in runs if len(run) == 1]
    return format_html(
        "{}{}",
        format_html_join("", '<polyline class="chart-line chart-{}" points="{}"/>', lines),
        format_html_join("", '<circle class="chart-dot chart-{}" cx="{}" cy="{}" r="3"/>', dots),
    )


def _axes(labels: Sequence[str], shown: Callable[[float], str], plot: _Plot) -> SafeString:
    values = [plot.tick * number for number in range(round(plot.top / plot.tick) + 1)]
    across = [(LEFT, WIDTH - RIGHT, plot.y(value), plot.y(value), LEFT - 6, plot.y(value) + 4, shown(value))
              for value in values]  # fmt: skip
    every = max(1, math.ceil(len(labels) / LABELS))
    below = [(plot.x(place), HEIGHT - 8, labels[place]) for place in range(0, len(labels), every)]
    return format_html(
        "{}{}",
        format_html_join(
            "",
            '<line class="chart-grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
            '<text class="chart-text" x="{}" y="{}" text-anchor="end">{}</text>',
            across,
        ),
        format_html_join("", '<text class="chart-text" x="{}" y="{}" text-anchor="middle">{}</text>', below),
    )


def _figure(
    series: Sequence[Series],
    labels: Sequence[str],
    title: str,
    shown: Callable[[float], str],
    plot: _Plot,
    drawn: Sequence[SafeString],
    notes: Sequence[str],
) -> SafeString:
    """Put title, description, legend, drawing and table together."""
    values = _all(series)
    spread = f"between {shown(min(values))} and {shown(max(values))}" if values else "nothing to show"
    span = f"{labels[0]} to {labels[-1]}" if labels else "no day"
    told = ". ".join([f"{', '.join(one.name for one in series)}; {span}; {spread}", *notes])
    name = f"chart-{slugify(title)}"
    return format_html(
        '<figure class="chart"><figcaption>{title}</figcaption>{legend}'
        '<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name} {name}-told">'
        '<title id="{name}">{title}</title><desc id="{name}-told">{told}. The table below has the figures.</desc>'
        "{axes}{drawn}</svg>{table}</figure>",
        title=title, legend=_legend(series, notes), width=WIDTH, height=HEIGHT, name=name, told=told,
        axes=_axes(labels, shown, plot), drawn=mark_safe("".join(drawn)),  # noqa: S308  (parts are escaped above)
        table=_table(series, labels, title, shown),
    )  # fmt: skip


def _legend(series: Sequence[Series], notes: Sequence[str]) -> SafeString:
    keys = format_html_join(
        "",
        '<li><svg class="chart-key" viewBox="0 0 12 12" aria-hidden="true">'
        '<rect class="chart-{}" width="12" height="12"/></svg> {}</li>',
        ((one.shade(number), one.name) for number, one in enumerate(series)),
    )
    said = format_html_join("", '<li class="chart-note">{}</li>', ((note,) for note in notes))
    return format_html('<ul class="chart-legend">{}{}</ul>', keys, said) if len(series) > 1 or notes else _NONE


def _table(series: Sequence[Series], labels: Sequence[str], title: str, shown: Callable[[float], str]) -> SafeString:
    heads = format_html_join("", '<th scope="col">{}</th>', ((one.name,) for one in series))
    rows = [
        format_html(
            '<tr><th scope="row">{}</th>{}</tr>',
            label,
            format_html_join("", "<td>{}</td>", ((_cell(one.values[place], shown),) for one in series)),
        )
        for place, label in enumerate(labels)
    ]
    return format_html(
        "<details><summary>The figures</summary><table><caption>{}</caption><thead><tr><td></td>{}</tr></thead>"
        "<tbody>{}</tbody></table></details>",
        title, heads, mark_safe("".join(rows)),  # noqa: S308  (rows are escaped above)
    )  # fmt: skip
