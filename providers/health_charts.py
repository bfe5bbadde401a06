"""Charts as inline SVG: no script and no style attribute, so that they are drawn under the strictest policy.

Colours and fonts are classes of providers/static/providers/charts.css. A chart is a frame with layers on it; every
function is pure and takes moments that are aware. What a chart shows is also told in its title and description, and
the page has it as a table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notify.clock import local_date, local_midnight, zone

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 56, 12, 20, 26  # of the drawing, and its margins
HOURS = (0.25, 1, 2, 3, 6, 12, 24)  # that may lie between two marks of the time axis
MARKS = 9  # about as many on the time axis


@dataclass(frozen=True, slots=True)
class Frame:
    """Where moments and values are on the drawing. top: the highest value. unit: what the axis is in, such as “%”."""

    start: datetime
    end: datetime
    top: float
    height: int = 170
    unit: str = ""

    def x(self, moment: datetime) -> float:
        """Return the place of a moment, inside the frame."""
        part = (moment - self.start) / (self.end - self.start)
        return round(LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Return the place of a value, inside the frame."""
        return round(self.floor - min(1.0, max(0.0, value / self.top)) * (self.floor - TOP), 1)

    @property
    def floor(self) -> int:
        """Return where zero is."""
        return self.height - BOTTOM


def chart(name: str, title: str, description: str, frame: Frame, *layers: SafeString) -> SafeString:
    """Return a drawing with axes below its layers. name: unique on the page."""
    return format_html(
        '<svg class="chart" role="img" aria-labelledby="{0}-title {0}-text" viewBox="0 0 {1} {2}">'
        '<title id="{0}-title">{3}</title><desc id="{0}-text">{4}</desc>{5}{6}</svg>',
        name, WIDTH, frame.height, title, description, _axes(frame), _joined(layers),
    )  # fmt: skip


def line(frame: Frame, points: Iterable[tuple[datetime, float | None]], tone: str) -> SafeString:
    """Join the points; None is a gap, and a point between two gaps is a dot."""
    parts: list[list[str]] = [[]]
    for moment, value in points:
        if value is None:
            parts.append([])
        else:
            parts[-1].append(f"{frame.x(moment)},{frame.y(value)}")
    return _joined(_piece(part, tone) for part in parts if part)


def steps(
    frame: Frame, points: Sequence[tuple[datetime, float]], tone: str, *, until: datetime | None = None
) -> SafeString:
    """Draw a value that holds until the next point, and the last one until a moment, else to the end."""
    path: list[str] = []
    for place, (moment, value) in enumerate(points):
        next_at = points[place + 1][0] if place + 1 < len(points) else until or frame.end
        path += [f"{frame.x(moment)},{frame.y(value)}", f"{frame.x(next_at)},{frame.y(value)}"]
    return _piece(path, tone) if path else SafeString("")


def bars(
    frame: Frame, columns: Iterable[tuple[datetime, str, Sequence[tuple[str, float]]]], span: timedelta
) -> SafeString:
    """Draw a column for each moment, its (tone, value) parts one on the other. The text is shown to a pointer."""
    return _joined(
        format_html("<g><title>{}</title>{}</g>", text, _column(frame, moment, span, parts))
        for moment, text, parts in columns
        if any(value for _, value in parts)
    )


def level(frame: Frame, value: float, label: str) -> SafeString:
    """Draw a dashed line across at a value, with its label."""
    y = frame.y(value)
    return format_html(
        '<line class="level" x1="{}" x2="{}" y1="{}" y2="{}"></line>'
        '<text class="level-label" x="{}" y="{}">{}</text>',
        LEFT, WIDTH - RIGHT, y, y, LEFT + 4, y - 5, label,
    )  # fmt: skip


def events(frame: Frame, found: Iterable[tuple[datetime, str, str]]) -> SafeString:
    """Draw a line down at each (moment, number, text); the text is shown to a pointer."""
    return _joined(
        format_html(
            '<g class="event"><title>{}</title><line x1="{}" x2="{}" y1="{}" y2="{}"></line>'
            '<circle cx="{}" cy="10" r="8"></circle><text x="{}" y="13.5" text-anchor="middle">{}</text></g>',
            text, frame.x(moment), frame.x(moment), TOP - 2, frame.floor, frame.x(moment), frame.x(moment), number,
        )
        for moment, number, text in found
    )  # fmt: skip


def round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 5, 8, 10, 20 … that is not below a value: the top of an axis that reads well."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 4, 5, 8, 10) if power * step >= value)


def _axes(frame: Frame) -> SafeString:
    across = (
        format_html(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"></line>'
            '<text class="tick" x="{}" y="{}" text-anchor="end">{}{}</text>',
            LEFT, WIDTH - RIGHT, frame.y(value), frame.y(value), LEFT - 6, frame.y(value) + 4, f"{value:,g}",
            frame.unit,
        )
        for value in (0, frame.top / 2, frame.top)
    )  # fmt: skip
    along = (
        format_html(
            '<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"></line>'
            '<text class="tick" x="{0}" y="{3}" text-anchor="middle">{4}</text>',
            frame.x(moment), frame.floor, frame.floor + 4, frame.height - 8, label,
        )
        for moment, label in _times(frame)
    )  # fmt: skip
    return _joined([*across, *along])


def _times(frame: Frame) -> list[tuple[datetime, str]]:
    """Return the marks of the time axis: local midnights and equal steps after them."""
    hours = (frame.end - frame.start) / timedelta(hours=1)
    every = next((one for one in HOURS if hours / one <= MARKS), HOURS[-1])
    day, found = local_date(frame.start), []
    while (midnight := local_midnight(day)) <= frame.end:
        day += timedelta(days=1)
        moments = [midnight + step * timedelta(hours=every) for step in range(ceil(24 / every))]
        found += [moment for moment in moments if moment < local_midnight(day)]
    inside = [one for one in found if frame.start <= one <= frame.end and LEFT + 12 < frame.x(one) < WIDTH - RIGHT - 12]
    return [(moment, _label(moment)) for moment in inside]


def _label(moment: datetime) -> str:
    local = moment.astimezone(zone())
    return f"{local:%a} {local.day} {local:%b}" if (local.hour, local.minute) == (0, 0) else f"{local:%H:%M}"


def _column(frame: Frame, moment: datetime, span: timedelta, parts: Sequence[tuple[str, float]]) -> SafeString:
    left, right, below, drawn = frame.x(moment), frame.x(moment + span), 0.0, []
    for tone, value in parts:
        top, bottom = frame.y(below + value), frame.y(below)
        below += value
        if value:
            width, height = round(max(1.0, right - left - 1), 1), round(max(0.5, bottom - top), 1)
            drawn.append(
                format_html('<rect class="fill-{}" x="{}" y="{}" width="{}" height="{}"></rect>', tone, left, top,
                            width, height)
            )  # fmt: skip
    return _joined(drawn)


def _piece(path: Sequence[str], tone: str) -> SafeString:
    if len(path) == 1:
        x, y = path[0].split(",")
        return format_html('<circle class="dot fill-{}" cx="{}" cy="{}" r="2.5"></circle>', tone, x, y)
    return format_html('<polyline class="line line-{}" points="{}"></polyline>', tone, " ".join(path))


def _joined(parts: Iterable[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))
