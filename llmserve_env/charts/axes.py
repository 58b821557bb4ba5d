"""Scales from values to pixels, and what is drawn beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.svg import Box, Point, line_element, text

FRAME: Final = {"stroke": "#444444", "stroke-width": "1"}
GRID: Final = {"stroke": "#E2E2E2", "stroke-width": "1"}
MOST_X_TICKS, MOST_Y_TICKS = 5, 8
MARGIN_FRACTION: Final = 0.06


@dataclass(frozen=True, slots=True)
class Axes:
    """A map from values to pixels, linear but where an axis is logarithmic.

    Attributes:
        box: Where the lines go.
        x_range: Values at the left and right edge.
        y_range: Values at the lower and upper edge; above 0 where y is logarithmic.
        is_log: Whether y is logarithmic; a value below the lower edge is then drawn on it.
        is_log_x: Whether x is logarithmic; every value of x is then above 0.
    """

    box: Box
    x_range: Point
    y_range: Point
    is_log: bool = False
    is_log_x: bool = False

    @staticmethod
    def around(box: Box, *, x_values: Sequence[float], y_values: Sequence[float]) -> Axes:
        """Axes that show all values: x from 0, y with a little room."""
        low, high = min(y_values), max(y_values)
        room = MARGIN_FRACTION * ((high - low) or 1.0)
        return Axes(box, (0.0, max(x_values)), (low - room, high + room))

    def x_px(self, value: float) -> float:
        """Pixels from the left."""
        low, high = self.x_range
        if self.is_log_x:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.box.left + (value - low) / (high - low) * (self.box.right - self.box.left)

    def y_px(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.y_range
        if self.is_log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
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


def log_ticks(limits: Point, most: int) -> list[float]:
    """Powers of ten within the limits, with their double and fivefold where there is room."""
    low, high = limits
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [
            factor * 10.0**decade
            for decade in decades
            for factor in factors
            if low <= factor * 10.0**decade <= high
        ]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]
