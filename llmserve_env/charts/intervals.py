"""Points with intervals: a row an agent, a panel beside the other a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import ticks
from llmserve_env.charts.styles import INK, look_of
from llmserve_env.charts.svg import Box, as_text, figure_element, line_element, text

LABELS_PX, PANEL_PX, GAP_PX, ROW_PX, HEAD_PX, FOOT_PX = 170.0, 210.0, 26.0, 24.0, 74.0, 34.0
MOST_TICKS: Final = 7
ROOM: Final = 0.05
WIDTH_PX, RADIUS_PX = 3.0, 4.5
GRID: Final = {"stroke": "#E2E2E2", "stroke-width": "1"}
LEVEL: Final = {"stroke": "#B3261E", "stroke-width": "1.3", "stroke-dasharray": "6 3"}
SMALL: Final = {"font-size": "11", "fill": "#5F5F5F", "text-anchor": "middle"}

Interval = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class IntervalPanel:
    """One number of all agents.

    Attributes:
        title: What it is.
        points: By agent (value, low, high); an agent may lack one.
        level: A value to compare with, if there is one.
    """

    title: str
    points: Mapping[str, Interval]
    level: float | None = None


def interval_picture(title: str, agents: Sequence[str], panels: Sequence[IntervalPanel]) -> str:
    """The panels side by side as an SVG file on white; agents from top to bottom as given."""
    height = HEAD_PX + ROW_PX * len(agents) + FOOT_PX
    figure = figure_element(LABELS_PX + (PANEL_PX + GAP_PX) * len(panels), height)
    figure.set("role", "img")
    figure.set("aria-label", title)
    text(figure, 16, 26, title, {"font-size": "16", "font-weight": "bold", "fill": INK})
    for index, agent in enumerate(agents):
        style = {"text-anchor": "end", "fill": INK}
        text(figure, LABELS_PX - 12, _row(index) + 4, look_of(agent).label, style)
    for index, panel in enumerate(panels):
        left = LABELS_PX + index * (PANEL_PX + GAP_PX)
        box = Box(left, HEAD_PX, left + PANEL_PX, height - FOOT_PX)
        _draw(figure, box, panel, agents)
    return as_text(figure)


def _draw(
    figure: ElementTree.Element, box: Box, panel: IntervalPanel, agents: Sequence[str]
) -> None:
    ends = [end for point in panel.points.values() for end in point]
    ends += [] if panel.level is None else [panel.level]
    room = ROOM * ((max(ends) - min(ends)) or 1.0)
    low, high = min(ends) - room, max(ends) + room

    def x_px(value: float) -> float:
        return box.left + (value - low) / (high - low) * (box.right - box.left)

    heading = {"font-weight": "bold", "fill": INK, "text-anchor": "middle"}
    text(figure, (box.left + box.right) / 2, box.top - 12, panel.title, heading)
    for value in ticks((low, high), MOST_TICKS):
        line_element(figure, (x_px(value), box.top), (x_px(value), box.bottom), GRID)
        text(figure, x_px(value), box.bottom + 17, f"{value:g}", SMALL)
    if panel.level is not None:
        line_element(figure, (x_px(panel.level), box.top), (x_px(panel.level), box.bottom), LEVEL)
    for index, agent in enumerate(agents):
        if agent in panel.points:
            value, start, end = panel.points[agent]
            colour, y = look_of(agent).colour, _row(index)
            style = {"stroke": colour, "stroke-width": f"{WIDTH_PX:g}"}
            line_element(figure, (x_px(start), y), (x_px(end), y), style)
            place = {"cx": f"{x_px(value):.1f}", "cy": f"{y:.1f}", "r": f"{RADIUS_PX:g}"}
            ElementTree.SubElement(figure, "circle", {**place, "fill": colour})


def _row(index: int) -> float:
    return HEAD_PX + (index + 0.5) * ROW_PX
