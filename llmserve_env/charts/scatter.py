"""Simulated against measured, both on logarithmic axes; on the diagonal they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import log_ticks
from llmserve_env.charts.panel import AXIS, GRID, LEVEL_LINE, SMALL, number
from llmserve_env.charts.styles import LOOKS
from llmserve_env.charts.svg import Box, line_element, polyline, text

SIDE_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 440, 66, 14, 10, 44
HEIGHT_PX, ROOM, MOST_TICKS, RADIUS_PX = 282, 1.15, 5, 3.4
BAND: Final = 0.1


def scatter(title: str, unit: str, pairs: Sequence[tuple[float, float]], *, words: str = "") -> str:
    """An HTML figure of (measured, simulated) points, with a band of 10 % around the diagonal.

    Args:
        title: Above it.
        unit: Of both axes.
        pairs: All above 0; at least one.
        words: HTML of the same in words, below it.
    """
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {SIDE_PX} {HEIGHT_PX}",
            "role": "img",
            "aria-label": f"{title}: {len(pairs)} points, simulated against measured, in {unit}",
            "font-size": "12",
        },
    )
    values = [value for pair in pairs for value in pair]
    limits = min(values) / ROOM, max(values) * ROOM
    box = Box(LEFT_PX, TOP_PX, SIDE_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX)
    _axes(root, box, limits, unit)
    for factor, style in ((1.0 - BAND, GRID), (1.0 + BAND, GRID), (1.0, LEVEL_LINE)):
        ends = [(value, value * factor) for value in limits]
        polyline(root, [_point(box, limits, *end) for end in ends], style)
    for measured, simulated in pairs:
        x, y = _point(box, limits, measured, simulated)
        place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{RADIUS_PX}"}
        look = {"fill": LOOKS["ppo"].colour, "fill-opacity": "0.75", "class": "f-blue"}
        ElementTree.SubElement(root, "circle", place | look)
    picture = ElementTree.tostring(root, encoding="unicode")
    # The title is text of the page, which breaks into lines where it is long.
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return f'<figure class="scatter">{caption}{picture}{words}</figure>'


def _axes(root: ElementTree.Element, box: Box, limits: tuple[float, float], unit: str) -> None:
    for value in log_ticks(limits, MOST_TICKS):
        x, y = _point(box, limits, value, value)
        line_element(root, (box.left, y), (box.right, y), GRID)
        line_element(root, (x, box.bottom), (x, box.bottom + 4), AXIS)
        text(root, box.left - 6, y + 4, number(value), SMALL | {"text-anchor": "end"})
        text(root, x, box.bottom + 17, number(value), SMALL | {"text-anchor": "middle"})
    line_element(root, (box.left, box.bottom), (box.right, box.bottom), AXIS)
    middle = (box.left + box.right) / 2
    label = f"measured, {unit} (up: simulated)"
    text(root, middle, box.bottom + 36, label, SMALL | {"text-anchor": "middle"})


def _point(
    box: Box, limits: tuple[float, float], measured: float, simulated: float
) -> tuple[float, float]:
    low, high = map(math.log, limits)
    across, up = ((math.log(value) - low) / (high - low) for value in (measured, simulated))
    return (
        box.left + across * (box.right - box.left),
        box.bottom - up * (box.bottom - box.top),
    )
