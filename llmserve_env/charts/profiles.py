"""Performance profiles: which share of the episodes is above a threshold, a line an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import Axes, ticks
from llmserve_env.charts.styles import INK, in_order, look_of
from llmserve_env.charts.svg import Box, as_text, figure_element, line_element, polyline, text

WIDTH_PX, HEIGHT_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 820.0, 430.0, 66.0, 210.0, 48.0, 54.0
LEGEND_ROW_PX, SAMPLE_PX = 22.0, 32.0
MOST_TICKS: Final = 8
GRID: Final = {"stroke": "#E2E2E2", "stroke-width": "1"}
SMALL: Final = {"font-size": "11", "fill": "#5F5F5F"}


@dataclass(frozen=True, slots=True)
class Share:
    """An agent's line and the band around it, a value per threshold."""

    share: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def profile_picture(
    title: str, axis: str, thresholds: Sequence[float], shares: Mapping[str, Share]
) -> str:
    """The lines as an SVG file on white.

    Args:
        title: Above.
        axis: What the thresholds are of.
        thresholds: At least two, ascending.
        shares: By agent.
    """
    figure = figure_element(WIDTH_PX, HEIGHT_PX)
    figure.set("role", "img")
    figure.set("aria-label", title)
    text(figure, 16, 26, title, {"font-size": "16", "font-weight": "bold", "fill": INK})
    box = Box(LEFT_PX, TOP_PX, WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX)
    axes = Axes(box, (thresholds[0], thresholds[-1]), (0.0, 1.0))
    _grid(figure, axes, axis)
    agents = in_order(list(shares))
    for agent in agents:
        _band(figure, axes, thresholds, shares[agent], look_of(agent).colour)
    for index, agent in enumerate(agents):
        look = look_of(agent)
        points = [axes.point(*pair) for pair in zip(thresholds, shares[agent].share, strict=True)]
        polyline(figure, points, look.stroke)
        x, y = box.right + 18, box.top + 12 + index * LEGEND_ROW_PX
        line_element(figure, (x, y - 4), (x + SAMPLE_PX, y - 4), look.stroke)
        text(figure, x + SAMPLE_PX + 8, y, look.label)
    return as_text(figure)


def _grid(figure: ElementTree.Element, axes: Axes, axis: str) -> None:
    box = axes.box
    for value in ticks(axes.y_range, MOST_TICKS):
        y = axes.y_px(value)
        line_element(figure, (box.left, y), (box.right, y), GRID)
        text(figure, box.left - 8, y + 4, f"{value:g}", SMALL | {"text-anchor": "end"})
    for value in ticks(axes.x_range, MOST_TICKS):
        x = axes.x_px(value)
        line_element(figure, (x, box.top), (x, box.bottom), GRID)
        text(figure, x, box.bottom + 17, f"{value:g}", SMALL | {"text-anchor": "middle"})
    middle = (box.left + box.right) / 2
    text(figure, middle, box.bottom + 38, axis, {"text-anchor": "middle"})
    x, y = box.left - 44, (box.top + box.bottom) / 2
    turned = {"text-anchor": "middle", "transform": f"rotate(-90 {x:.1f} {y:.1f})"}
    text(figure, x, y, "share of episodes above", turned)


def _band(
    figure: ElementTree.Element,
    axes: Axes,
    thresholds: Sequence[float],
    share: Share,
    colour: str,
) -> None:
    there = [axes.point(*pair) for pair in zip(thresholds, share.low, strict=True)]
    back = [axes.point(*pair) for pair in zip(thresholds, share.high, strict=True)][::-1]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in there + back)
    style = {"points": joined, "fill": colour, "fill-opacity": "0.13"}
    ElementTree.SubElement(figure, "polygon", style)
