"""One small chart: lines over windows, with an objective, bars, bands and a cursor if wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import Axes, log_ticks, ticks
from llmserve_env.charts.styles import BARS, FAINT_INK, INK, LEVEL, PAPER, look_of
from llmserve_env.charts.svg import Box, Point, line_element, polyline, rectangle, text

WIDTH_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 480, 58, 14, 28, 30
PLOT_HEIGHT_PX: Final = 150.0
MOST_TICKS: Final = 5
HEADROOM: Final = 1.06
# Of a logarithmic axis without values.
EMPTY_LOG_RANGE: Final = (1.0, 10.0)
LOG_ROOM: Final = 1.25
# Of the height, for the tallest bar.
BAR_SHARE: Final = 0.45

GRID: Final = {"stroke": "#E2E2E2", "class": "grid", "stroke-width": "1"}
AXIS: Final = {"stroke": "#8A8A8A", "class": "axis", "stroke-width": "1"}
CURSOR: Final = {"stroke": INK, "class": "cursor", "stroke-width": "1", "stroke-dasharray": "2 2"}
LEVEL_LINE: Final = {
    "stroke": LEVEL,
    "class": "level",
    "stroke-width": "1.3",
    "stroke-dasharray": "6 3",
}
SMALL: Final = {"font-size": "11", "fill": FAINT_INK, "class": "faint"}
# Keeps a text readable over lines.
HALO: Final = {"paint-order": "stroke", "stroke": PAPER, "stroke-width": "3"}
HEADING: Final = {"font-size": "13", "font-weight": "bold", "fill": INK, "class": "ink"}

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """One of several small charts over the same windows.

    Attributes:
        title: What is drawn, its unit included.
        lines: By agent, a value per window played; None where nothing was measured.
        windows: Length of the x axis.
        is_log: Whether the y axis is logarithmic.
        is_step: Whether a value holds for its window, as knobs do.
        top: The upper edge if it is fixed, as that of a share is.
        level: A value to compare with, and what it is.
        bars: A value per window behind the lines, on a scale of their own that is not shown.
        marks: Values of the y axis and what is written there; round numbers if left out.
        plot_height_px: Between the edges.
        x_name: What the x axis counts.
    """

    title: str
    lines: Mapping[str, Values]
    windows: int
    is_log: bool = False
    is_step: bool = False
    top: float | None = None
    level: tuple[float, str] | None = None
    bars: Values = ()
    marks: Sequence[tuple[float, str]] = field(default=())
    plot_height_px: float = PLOT_HEIGHT_PX
    x_name: str = "window"

    @property
    def height_px(self) -> float:
        """With its title and its axis."""
        return TOP_PX + self.plot_height_px + BOTTOM_PX


def draw_panel(figure: ElementTree.Element, panel: Panel, *, cursor: int | None = None) -> None:
    """Draw the panel into the upper left corner of a figure.

    Args:
        figure: Is at least WIDTH_PX wide and as high as the panel.
        panel: What is drawn.
        cursor: A window to point at.
    """
    box = Box(LEFT_PX, TOP_PX, WIDTH_PX - RIGHT_PX, TOP_PX + panel.plot_height_px)
    axes = Axes(box, (0.0, float(panel.windows)), y_range_of(panel), panel.is_log)
    text(figure, LEFT_PX, 17, panel.title, HEADING)
    _y_axis(figure, axes, panel)
    _bars(figure, axes, panel)
    for agent, values in panel.lines.items():
        for points in _unbroken(axes, values, panel.is_step):
            polyline(figure, points, look_of(agent).stroke)
    if panel.level is not None:
        y = axes.y_px(panel.level[0])
        line_element(figure, (box.left, y), (box.right, y), LEVEL_LINE)
        style = SMALL | HALO | {"text-anchor": "end", "fill": LEVEL, "class": "level-text"}
        text(figure, box.right - 3, y - 4, panel.level[1], style)
    if cursor is not None:
        x = axes.x_px(cursor + 0.5)
        line_element(figure, (x, box.top), (x, box.bottom), CURSOR)
    draw_x_axis(figure, axes, name=panel.x_name)


def draw_x_axis(figure: ElementTree.Element, axes: Axes, *, name: str = "window") -> None:
    """Draw the line at the bottom, with the numbers of windows, or of what else it counts."""
    box = axes.box
    line_element(figure, (box.left, box.bottom), (box.right, box.bottom), AXIS)
    for value in ticks(axes.x_range, MOST_TICKS + 1):
        x = axes.x_px(value)
        line_element(figure, (x, box.bottom), (x, box.bottom + 4), AXIS)
        label = f"{name} {value:g}" if value == 0.0 else f"{value:g}"
        text(figure, x, box.bottom + 17, label, SMALL | {"text-anchor": "middle"})


def y_range_of(panel: Panel) -> Point:
    """Values at the lower and upper edge: zero, or a round number on a logarithmic axis, and up."""
    values = [value for line in panel.lines.values() for value in line if value is not None]
    if panel.level is not None:
        values.append(panel.level[0])
    if panel.is_log:
        positive = [value for value in values if value > 0.0]
        if not positive:
            return EMPTY_LOG_RANGE
        return min(positive) / LOG_ROOM, max(positive) * LOG_ROOM
    low = min([0.0, *values])
    high = max([0.0, *values]) if panel.top is None else panel.top
    return low * HEADROOM, (high or 1.0) * HEADROOM


def _y_axis(figure: ElementTree.Element, axes: Axes, panel: Panel) -> None:
    box = axes.box
    find = log_ticks if panel.is_log else ticks
    marks = panel.marks or [(value, number(value)) for value in find(axes.y_range, MOST_TICKS)]
    for value, label in marks:
        y = axes.y_px(value)
        line_element(figure, (box.left, y), (box.right, y), GRID)
        text(figure, box.left - 6, y + 4, label, SMALL | {"text-anchor": "end"})


def _bars(figure: ElementTree.Element, axes: Axes, panel: Panel) -> None:
    tallest = max((value for value in panel.bars if value is not None), default=0.0)
    height = BAR_SHARE * (axes.box.bottom - axes.box.top)
    for window, value in enumerate(panel.bars):
        if value:
            left, right = axes.x_px(window), axes.x_px(window + 1)
            top = axes.box.bottom - height * value / tallest
            rectangle(figure, Box(left, top, right, axes.box.bottom), BARS, {"class": "bars"})


def number(value: float) -> str:
    """A number as people write it: 15,000 and 0.25, at most four digits behind a point."""
    return f"{value:,.0f}" if abs(value) >= 1_000.0 else f"{value:.4g}"


def corners(points: Sequence[Point]) -> list[Point]:
    """The points without those in the middle of a level stretch."""
    return [
        point
        for index, point in enumerate(points)
        if index in (0, len(points) - 1)
        or not points[index - 1][1] == point[1] == points[index + 1][1]
    ]


def _unbroken(axes: Axes, values: Values, is_step: bool) -> list[list[Point]]:
    """The stretches of a line between windows in which nothing was measured."""
    stretches: list[list[Point]] = [[]]
    for window, value in enumerate(values):
        if value is None or not math.isfinite(value):
            stretches.append([])
        elif is_step:
            stretches[-1] += [axes.point(window, value), axes.point(window + 1, value)]
        else:
            stretches[-1].append(axes.point(window + 0.5, value))
    return [corners(points) for points in stretches if points]
