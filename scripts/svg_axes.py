"""Axes and lines as SVG elements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

FONT: Final = "Helvetica, Arial, sans-serif"
FRAME: Final = {"stroke": "#444444", "stroke-width": "1"}
GRID: Final = {"stroke": "#E2E2E2", "stroke-width": "1"}
MOST_X_TICKS, MOST_Y_TICKS = 5, 8
MARGIN_FRACTION: Final = 0.06

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a panel's lines are drawn, in pixels from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Axes:
    """A linear map from values to pixels.

    Attributes:
        box: Where the lines go.
        x_range: Values at the left and right edge.
        y_range: Values at the lower and upper edge.
    """

    box: Box
    x_range: Point
    y_range: Point

    @staticmethod
    def around(box: Box, *, x_values: Sequence[float], y_values: Sequence[float]) -> Axes:
        """Axes that show all values: x from 0, y with a little room."""
        low, high = min(y_values), max(y_values)
        room = MARGIN_FRACTION * ((high - low) or 1.0)
        return Axes(box, (0.0, max(x_values)), (low - room, high + room))

    def x_px(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self.x_range
        return self.box.left + (value - low) / (high - low) * (self.box.right - self.box.left)

    def y_px(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y_range
        return self.box.bottom - (value - low) / (high - low) * (self.box.bottom - self.box.top)

    def point(self, x: float, y: float) -> Point:
        """Both."""
        return self.x_px(x), self.y_px(y)

    def draw(self, figure: ElementTree.Element, *, x_label: str, y_label: str) -> None:
        """Add grid, frame, ticks and labels to the figure."""
        box, centred = self.box, {"text-anchor": "middle"}
        for value in ticks(self.y_range, MOST_Y_TICKS):
            y = self.y_px(value)
            line_element(figure, (box.left, y), (box.right, y), GRID)
            label = f"{value:+.4g}" if value else "0"
            text(figure, box.left - 6, y + 4, label, {"text-anchor": "end"})
        for value in ticks(self.x_range, MOST_X_TICKS):
            x = self.x_px(value)
            line_element(figure, (x, box.bottom), (x, box.bottom + 4), FRAME)
            text(figure, x, box.bottom + 18, f"{value / 1000:,.4g}k" if value else "0", centred)
        line_element(figure, (box.left, box.top), (box.left, box.bottom), FRAME)
        line_element(figure, (box.left, box.bottom), (box.right, box.bottom), FRAME)
        text(figure, (box.left + box.right) / 2, box.bottom + 38, x_label, centred)
        x, y = box.left - 56, (box.top + box.bottom) / 2
        text(figure, x, y, y_label, centred | {"transform": f"rotate(-90 {x:.1f} {y:.1f})"})


def ticks(limits: Point, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within the limits, as many as `most` allows."""
    low, high = limits
    power: float = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) < most
    )
    first, last = math.ceil(low / step), math.floor(high / step)
    # + 0.0: minus zero is written with its sign.
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def figure_element(width_px: float, height_px: float) -> ElementTree.Element:
    """An empty white picture."""
    size = {"width": f"{width_px:.0f}", "height": f"{height_px:.0f}"}
    figure = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width_px:.0f} {height_px:.0f}",
            "font-family": FONT,
            "font-size": "12",
            **size,
        },
    )
    ElementTree.SubElement(figure, "rect", {**size, "fill": "#FFFFFF"})
    return figure


def line_element(
    figure: ElementTree.Element, start: Point, end: Point, style: Mapping[str, str]
) -> None:
    """Add a straight line."""
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    ElementTree.SubElement(figure, "line", {**ends, **style})


def polyline(
    figure: ElementTree.Element, points: Sequence[Point], style: Mapping[str, str]
) -> None:
    """Add a line through all points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    ElementTree.SubElement(figure, "polyline", {"points": joined, "fill": "none", **style})


def rectangle(
    figure: ElementTree.Element, box: Box, fill: str, style: Mapping[str, str] | None = None
) -> None:
    """Add a filled rectangle."""
    corner = {"x": f"{box.left:.1f}", "y": f"{box.top:.1f}"}
    size = {"width": f"{box.right - box.left:.1f}", "height": f"{box.bottom - box.top:.1f}"}
    ElementTree.SubElement(figure, "rect", {**corner, **size, "fill": fill, **(style or {})})


def text(
    figure: ElementTree.Element,
    x: float,
    y: float,
    content: str,
    style: Mapping[str, str] | None = None,
) -> None:
    """Add a text that starts, or by its style is centred or ends, at the point."""
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "fill": "#222222"}
    ElementTree.SubElement(figure, "text", {**place, **(style or {})}).text = content
