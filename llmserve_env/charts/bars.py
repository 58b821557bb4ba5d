"""Bars: how something is spread over time or over sizes; several panels in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llmserve_env.charts.styles import INK
from llmserve_env.charts.svg import Box, as_text, figure_element, line_element, rectangle, text

PANEL_WIDTH_PX, PANEL_HEIGHT_PX, MARGIN_PX, HEAD_PX, FOOT_PX = 720.0, 150.0, 24.0, 44.0, 34.0
FILL: Final = "#0072B2"
FRAME: Final = {"stroke": "#444444", "stroke-width": "1"}
SMALL: Final = {"font-size": "11", "fill": "#555555"}
LEVELS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Bars:
    """One panel.

    Attributes:
        title: What is shown.
        values: Heights, from 0 on.
        left: What the left end stands for.
        right: What the right end stands for.
        unit: Of the heights.
    """

    title: str
    values: Sequence[float]
    left: str
    right: str
    unit: str


def bar_picture(title: str, panels: Sequence[Bars]) -> str:
    """The panels one below the other, as an SVG file on white."""
    step = PANEL_HEIGHT_PX + FOOT_PX + MARGIN_PX
    figure = figure_element(PANEL_WIDTH_PX + 2 * MARGIN_PX, HEAD_PX + step * len(panels))
    figure.set("role", "img")
    figure.set("aria-label", title)
    text(figure, MARGIN_PX, 26, title, {"font-size": "17", "font-weight": "bold", "fill": INK})
    for index, panel in enumerate(panels):
        top = HEAD_PX + index * step
        bottom = top + PANEL_HEIGHT_PX
        highest = max(panel.values, default=0.0)
        head = f"{panel.title}; highest bar {highest:,.4g} {panel.unit}"
        text(figure, MARGIN_PX, top + 12, head, {"fill": INK})
        width = PANEL_WIDTH_PX / max(len(panel.values), 1)
        for place, value in enumerate(panel.values):
            height = (PANEL_HEIGHT_PX - 20) * value / (highest or 1.0)
            left = MARGIN_PX + place * width
            rectangle(figure, Box(left, bottom - height, left + width - 1, bottom), FILL)
        line_element(figure, (MARGIN_PX, bottom), (MARGIN_PX + PANEL_WIDTH_PX, bottom), FRAME)
        text(figure, MARGIN_PX, bottom + 15, panel.left, SMALL)
        end = {"text-anchor": "end", **SMALL}
        text(figure, MARGIN_PX + PANEL_WIDTH_PX, bottom + 15, panel.right, end)
    return as_text(figure)


def sparkline(values: Sequence[float]) -> str:
    """The heights as a line of block characters; the highest fills its line, 0 is a blank."""
    highest = max(values, default=0.0) or 1.0
    last = len(LEVELS) - 1
    return "".join(LEVELS[round(value / highest * last)] if value else " " for value in values)
