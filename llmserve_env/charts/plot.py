"""Points and lines over two axes, either of them logarithmic, with levels to keep below."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import log_ticks, ticks
from llmserve_env.charts.panel import (
    AXIS,
    GRID,
    HALO,
    HEADING,
    LEVEL_LINE,
    SMALL,
    WIDTH_PX,
    number,
)
from llmserve_env.charts.styles import LEVEL, PAPER, look_of
from llmserve_env.charts.svg import Box, Point, line_element, polyline, rectangle, text
from llmserve_env.charts.tables import folded, table

HEIGHT_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 290, 64, 18, 30, 48
MOST_TICKS: Final = 5
ROOM: Final = 0.07
RADIUS_PX: Final = 4.2
SMALL_PX: Final = 2.5


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one agent.

    Attributes:
        agent: By which styles.look_of knows its look.
        points: Pairs of values.
        names: What each point is, for the table and for a pointer that rests on it.
        is_joined: Whether a line leads through them.
        radius_px: Of a point; 0 draws none.
    """

    agent: str
    points: Sequence[Point]
    names: Sequence[str]
    is_joined: bool = False
    radius_px: float = RADIUS_PX


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        title: What is drawn.
        x_title: What is to the right, its unit included.
        y_title: What is up.
        series: Drawn in this order.
        x_log: Whether the x axis is logarithmic; its values are above 0 then.
        y_log: The same for y.
        x_level: A value of x beyond which something is broken, and what that is.
        y_level: The same for y.
    """

    title: str
    x_title: str
    y_title: str
    series: Sequence[Series]
    x_log: bool = False
    y_log: bool = False
    x_level: tuple[float, str] | None = None
    y_level: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class _Scale:
    """A map from values to pixels."""

    limits: Point
    pixels: Point
    is_log: bool

    def __call__(self, value: float) -> float:
        low, high = self.limits
        if self.is_log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        share = (min(max(value, low), high) - low) / ((high - low) or 1.0)
        return self.pixels[0] + share * (self.pixels[1] - self.pixels[0])

    def marks(self) -> list[float]:
        return (log_ticks if self.is_log else ticks)(self.limits, MOST_TICKS)


def plot_figure(plot: Plot) -> str:
    """An HTML figure with its numbers in a table behind a line that opens it."""
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH_PX} {HEIGHT_PX}",
            "role": "img",
            "aria-label": f"{plot.title}: {plot.y_title} against {plot.x_title}",
            "font-size": "12",
        },
    )
    box = Box(LEFT_PX, TOP_PX, WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX)
    points = [point for series in plot.series for point in series.points]
    x = _scale([p[0] for p in points], plot.x_level, (box.left, box.right), plot.x_log)
    y = _scale([p[1] for p in points], plot.y_level, (box.bottom, box.top), plot.y_log)
    text(root, LEFT_PX, 17, plot.title, HEADING)
    _broken(root, box, plot, x, y)
    _axes(root, box, plot, x, y)
    for series in plot.series:
        _draw(root, series, lambda point: (x(point[0]), y(point[1])))
    drawn = ElementTree.tostring(root, encoding="unicode")
    return f"<figure>{drawn}{folded('Table', _table(plot))}</figure>"


def _scale(
    values: Sequence[float], level: tuple[float, str] | None, pixels: Point, is_log: bool
) -> _Scale:
    given = [*values, *([level[0]] if level is not None else [])] or [1.0]
    low, high = min(given), max(given)
    if is_log:
        room = math.exp(ROOM * (math.log(high / low) or 1.0))
        return _Scale((low / room, high * room), pixels, is_log)
    room = ROOM * ((high - low) or high or 1.0)
    low = 0.0 if 0.0 <= low < 0.5 * high else low - room
    return _Scale((low, high + room), pixels, is_log)


def _broken(root: ElementTree.Element, box: Box, plot: Plot, x: _Scale, y: _Scale) -> None:
    """Tint what lies beyond a level."""
    band = {"fill-opacity": "0.08", "class": "band"}
    if plot.x_level is not None:
        left = x(plot.x_level[0])
        rectangle(root, Box(left, box.top, box.right, box.bottom), LEVEL, band)
    if plot.y_level is not None:
        bottom = y(plot.y_level[0])
        rectangle(root, Box(box.left, box.top, box.right, bottom), LEVEL, band)


def _axes(root: ElementTree.Element, box: Box, plot: Plot, x: _Scale, y: _Scale) -> None:
    for value in y.marks():
        line_element(root, (box.left, y(value)), (box.right, y(value)), GRID)
        text(root, box.left - 6, y(value) + 4, number(value), SMALL | {"text-anchor": "end"})
    for value in x.marks():
        line_element(root, (x(value), box.bottom), (x(value), box.bottom + 4), AXIS)
        text(root, x(value), box.bottom + 17, number(value), SMALL | {"text-anchor": "middle"})
    line_element(root, (box.left, box.bottom), (box.right, box.bottom), AXIS)
    middle = (box.left + box.right) / 2
    text(root, middle, box.bottom + 37, plot.x_title, SMALL | {"text-anchor": "middle"})
    text(root, box.right, 17, f"up: {plot.y_title}", SMALL | {"text-anchor": "end"})
    style = SMALL | HALO | {"fill": LEVEL, "class": "level-text"}
    if plot.x_level is not None:
        at = x(plot.x_level[0])
        line_element(root, (at, box.top), (at, box.bottom), LEVEL_LINE)
        text(root, at - 4, box.top + 12, plot.x_level[1], style | {"text-anchor": "end"})
    if plot.y_level is not None:
        at = y(plot.y_level[0])
        line_element(root, (box.left, at), (box.right, at), LEVEL_LINE)
        text(root, box.left + 4, at - 4, plot.y_level[1], style)


def _draw(root: ElementTree.Element, series: Series, place: Callable[[Point], Point]) -> None:
    look = look_of(series.agent)
    places = [place(point) for point in series.points]
    if series.is_joined:
        polyline(root, places, look.stroke)
    for (left, top), name in zip(places, series.names, strict=True):
        if series.radius_px:
            circle = {"cx": f"{left:.1f}", "cy": f"{top:.1f}", "r": f"{series.radius_px:g}"}
            width = "2.2" if series.radius_px > SMALL_PX else "1.3"
            style = {"fill": PAPER, "stroke": look.colour, "stroke-width": width}
            dot = ElementTree.SubElement(
                root, "circle", circle | style | {"class": f"dot {look.css}"}
            )
            ElementTree.SubElement(dot, "title").text = f"{look.label}: {name}"


def _table(plot: Plot) -> str:
    rows = [
        [look_of(series.agent).label, name, number(x), number(y)]
        for series in plot.series
        for (x, y), name in zip(series.points, series.names, strict=True)
    ]
    return table(["", "what", plot.x_title, plot.y_title], rows, caption=plot.title)
