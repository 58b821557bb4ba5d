"""Values with their intervals, a line each, beside a line that stands for no difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import ticks
from llmserve_env.charts.panel import AXIS, GRID, HEADING, SMALL, WIDTH_PX
from llmserve_env.charts.styles import INK, PAPER, look_of
from llmserve_env.charts.svg import Box, line_element, text

ROW_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 30, 158, 62, 34, 42
MOST_TICKS: Final = 5
ROOM: Final = 0.08
CENTRED: Final = {"text-anchor": "middle"}
NOTHING: Final = {"stroke": INK, "class": "cursor", "stroke-width": "1.2"}


@dataclass(frozen=True, slots=True)
class Estimated:
    """One line.

    Attributes:
        agent: By which styles.look_of knows its look.
        value: The estimate.
        low: Where its interval begins; None if there is none.
        high: Where it ends.
    """

    agent: str
    value: float
    low: float | None
    high: float | None


def forest(title: str, x_title: str, rows: Sequence[Estimated]) -> str:
    """An HTML figure; values are shares and shown in per cent.

    Args:
        title: Above it.
        x_title: What is to the right.
        rows: At least one.
    """
    height = TOP_PX + ROW_PX * len(rows) + BOTTOM_PX
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH_PX} {height}",
            "role": "img",
            "aria-label": f"{title}. {'; '.join(_in_words(row) for row in rows)}",
            "font-size": "12",
        },
    )
    box = Box(LEFT_PX, TOP_PX, WIDTH_PX - RIGHT_PX, height - BOTTOM_PX)
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room = ROOM * ((high - low) or 0.01)
    low, high = low - room, high + room

    def x(value: float) -> float:
        return box.left + (value - low) / (high - low) * (box.right - box.left)

    text(root, 8, 17, title, HEADING)
    for value in ticks((low, high), MOST_TICKS):
        line_element(root, (x(value), box.top), (x(value), box.bottom), GRID)
        text(root, x(value), box.bottom + 16, percent(value), SMALL | CENTRED)
    line_element(root, (box.left, box.bottom), (box.right, box.bottom), AXIS)
    line_element(root, (x(0.0), box.top), (x(0.0), box.bottom), NOTHING)
    text(root, (box.left + box.right) / 2, box.bottom + 34, x_title, SMALL | CENTRED)
    for index, row in enumerate(rows):
        _row(root, row, TOP_PX + ROW_PX * (index + 0.5), x)
    return f"<figure>{ElementTree.tostring(root, encoding='unicode')}</figure>"


def percent(share: float) -> str:
    """A share in per cent with its sign, as finely as its size asks for."""
    if abs(share) < 5e-5:
        return "0 %"
    return f"{100 * share:+.0f} %" if abs(share) >= 0.1 else f"{100 * share:+.1f} %"


def _row(
    root: ElementTree.Element,
    row: Estimated,
    top: float,
    x: Callable[[float], float],
) -> None:
    look = look_of(row.agent)
    text(root, 8, top + 4, look.label, {"fill": INK, "class": "ink"})
    if row.low is not None and row.high is not None:
        stroke = look.stroke | {"stroke-width": "2.4"}
        stroke.pop("stroke-dasharray", None)
        line_element(root, (x(row.low), top), (x(row.high), top), stroke)
    circle = {"cx": f"{x(row.value):.1f}", "cy": f"{top:.1f}", "r": "4.5", "fill": PAPER}
    style = {"stroke": look.colour, "stroke-width": "2.4", "class": f"dot {look.css}"}
    ElementTree.SubElement(root, "circle", circle | style)
    text(root, WIDTH_PX - 4, top + 4, percent(row.value), {"text-anchor": "end"})


def _in_words(row: Estimated) -> str:
    interval = ""
    if row.low is not None and row.high is not None:
        interval = f" ({percent(row.low)} to {percent(row.high)})"
    return f"{look_of(row.agent).label} {percent(row.value)}{interval}"
