"""Lines over any numbers, with levels to compare with: how one thing depends on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import Axes, log_ticks, ticks
from llmserve_env.charts.figures import framed, style
from llmserve_env.charts.panel import AXIS, GRID, HEADING, HEADROOM, LOG_ROOM, SMALL, number
from llmserve_env.charts.styles import LOOKS, Look
from llmserve_env.charts.svg import (
    Box,
    Point,
    as_text,
    figure_element,
    line_element,
    polyline,
    text,
)
from llmserve_env.charts.tables import folded, table

WIDTH_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 480, 66, 16, 28, 42
PLOT_HEIGHT_PX, LEGEND_ROW_PX, SAMPLE_PX, LETTER_PX = 190.0, 17.0, 26, 6.3
MOST_TICKS: Final = 6
# Widest that a chart without a neighbour is drawn.
ALONE_PX: Final = 560
# Of lines without a look of their own, in order.
SERIES: Final = (
    Look("", "#0072B2", "c-blue", width_px=2.2),
    Look("", "#D55E00", "c-vermillion", "8 3", 2.0),
    Look("", "#009E73", "c-green", "2 2", 2.2),
    Look("", "#CC79A7", "c-purple", "5 2 1 2", 2.0),
    Look("", "#000000", "c-ink", "1 3", 1.8),
    Look("", "#B8860B", "c-gold", "10 2 2 2", 2.0),
)


@dataclass(frozen=True, slots=True)
class Curves:
    """A chart that shows itself in a notebook.

    Attributes:
        title: What is drawn.
        x_label: What the x axis measures, its unit included.
        y_label: The same of the y axis.
        lines: By name, (x, y) in order of x. An agent's name gives the line the agent's look.
        levels: By name, values of y that hold everywhere.
        is_log_x: Whether the x axis is logarithmic; then every x is above 0.
        is_log_y: The same of the y axis.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[Point]]
    levels: Mapping[str, float] = field(default_factory=dict)
    is_log_x: bool = False
    is_log_y: bool = False

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        alone = f'<div style="max-width:{ALONE_PX}px">{figure(self)}</div>'
        return f"{style()}{framed(alone)}"


def side_by_side(*charts: Curves) -> str:
    """HTML of several charts, next to each other where there is room; needs `style()` once."""
    drawn = "".join(figure(chart) for chart in charts)
    return framed(f'<div class="grid2">{drawn}</div>')


def figure(chart: Curves) -> str:
    """The chart as an HTML figure, its numbers in a table beside it."""
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH_PX} {_height_px(chart):.0f}",
            "role": "img",
            "aria-label": _in_words(chart),
            "font-size": "12",
        },
    )
    _draw(root, chart)
    drawn = ElementTree.tostring(root, encoding="unicode")
    return f"<figure>{drawn}{folded('Table', _table(chart))}</figure>"


def picture(chart: Curves) -> str:
    """The chart as an SVG file on white."""
    root = figure_element(WIDTH_PX, _height_px(chart))
    root.set("role", "img")
    root.set("aria-label", _in_words(chart))
    _draw(root, chart)
    return as_text(root)


def _draw(root: ElementTree.Element, chart: Curves) -> None:
    text(root, LEFT_PX, 17, chart.title, HEADING)
    top = TOP_PX + LEGEND_ROW_PX * _legend(root, chart)
    box = Box(LEFT_PX, top, WIDTH_PX - RIGHT_PX, top + PLOT_HEIGHT_PX)
    axes = Axes(
        box,
        _range([x for line in chart.lines.values() for x, _ in line], chart.is_log_x, is_x=True),
        _range(_heights(chart), chart.is_log_y),
        is_log=chart.is_log_y,
        is_log_x=chart.is_log_x,
    )
    _draw_axes(root, axes, chart)
    for name, value in chart.levels.items():
        ends = (box.left, axes.y_px(value)), (box.right, axes.y_px(value))
        line_element(root, *ends, _look(chart, name).stroke)
    for name, points in chart.lines.items():
        polyline(root, [axes.point(*point) for point in points], _look(chart, name).stroke)


def _draw_axes(root: ElementTree.Element, axes: Axes, chart: Curves) -> None:
    box = axes.box
    for value in (log_ticks if axes.is_log else ticks)(axes.y_range, MOST_TICKS):
        y = axes.y_px(value)
        line_element(root, (box.left, y), (box.right, y), GRID)
        text(root, box.left - 6, y + 4, number(value), SMALL | {"text-anchor": "end"})
    centred = SMALL | {"text-anchor": "middle"}
    for value in (log_ticks if axes.is_log_x else ticks)(axes.x_range, MOST_TICKS + 2):
        x = axes.x_px(value)
        line_element(root, (x, box.bottom), (x, box.bottom + 4), AXIS)
        text(root, x, box.bottom + 17, number(value), centred)
    line_element(root, (box.left, box.bottom), (box.right, box.bottom), AXIS)
    text(root, (box.left + box.right) / 2, box.bottom + 35, chart.x_label, centred)
    x, y = 12.0, (box.top + box.bottom) / 2
    text(root, x, y, chart.y_label, centred | {"transform": f"rotate(-90 {x:.1f} {y:.1f})"})


def _legend(root: ElementTree.Element, chart: Curves) -> int:
    """Draw what each line is, in as many rows as it takes; how many these are."""
    x, row = float(LEFT_PX), 0
    for name in (*chart.lines, *chart.levels):
        label = _label(name)
        width = SAMPLE_PX + 18 + LETTER_PX * len(label)
        if x > LEFT_PX and x + width > WIDTH_PX:
            x, row = float(LEFT_PX), row + 1
        y = TOP_PX + LEGEND_ROW_PX * row + 3
        line_element(root, (x, y), (x + SAMPLE_PX, y), _look(chart, name).stroke)
        text(root, x + SAMPLE_PX + 5, y + 4, label, {"font-size": "11", "class": "ink"})
        x += width
    return row + 1


def _height_px(chart: Curves) -> float:
    rows = _legend(ElementTree.Element("svg"), chart)
    return TOP_PX + LEGEND_ROW_PX * rows + PLOT_HEIGHT_PX + BOTTOM_PX


def _label(name: str) -> str:
    return LOOKS[name].label if name in LOOKS else name


def _look(chart: Curves, name: str) -> Look:
    if name in LOOKS:
        return LOOKS[name]
    unknown = [other for other in (*chart.lines, *chart.levels) if other not in LOOKS]
    return SERIES[unknown.index(name) % len(SERIES)]


def _heights(chart: Curves) -> list[float]:
    return [y for line in chart.lines.values() for _, y in line] + list(chart.levels.values())


def _range(values: Sequence[float], is_log: bool, *, is_x: bool = False) -> Point:
    """The ends of an axis: those of the values with a little room, and 0 on a linear one."""
    if is_log:
        room = 1.0 if is_x else LOG_ROOM
        return min(values) / room, max(values) * room
    low, high = min(0.0, *values), max(0.0, *values)
    if is_x:
        return low, high
    room = (HEADROOM - 1.0) * (high - low)
    return low - (room if low < 0.0 else 0.0), high + room


def _in_words(chart: Curves) -> str:
    ends = [
        f"{_label(name)} from {number(points[0][1])} to {number(points[-1][1])}"
        for name, points in chart.lines.items()
    ]
    levels = [f"{_label(name)} at {number(value)}" for name, value in chart.levels.items()]
    return f"{chart.title}; {chart.y_label} over {chart.x_label}. {'; '.join(ends + levels)}."


def _table(chart: Curves) -> str:
    xs = sorted({x for line in chart.lines.values() for x, _ in line})
    known = {name: dict(points) for name, points in chart.lines.items()}
    rows = [
        [number(x), *(number(line[x]) if x in line else "-" for line in known.values())] for x in xs
    ]
    rows += [
        [_label(name), *([number(value)] * len(known))] for name, value in chart.levels.items()
    ]
    head = [chart.x_label, *(_label(name) for name in known)]
    return table(head, rows, caption=f"{chart.title}: {chart.y_label}")
