"""What held an episode back, window by window, and when its knobs moved: two kinds of lanes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import Axes
from llmserve_env.charts.panel import (
    CURSOR,
    GRID,
    HEADING,
    RIGHT_PX,
    SMALL,
    WIDTH_PX,
    draw_x_axis,
)
from llmserve_env.charts.styles import INK
from llmserve_env.charts.svg import Box, line_element, rectangle, text
from llmserve_env.charts.tables import folded, table
from llmserve_env.explanation import BINDING_NAMES, KNOB_NAMES
from llmserve_env.models import BindingConstraint, ServeAction, ServeObservation

LEFT_PX, LANE_PX, HEAD_PX, GAP_PX, FOOT_PX = 112, 15.0, 28.0, 22.0, 30.0
BLOCK_INSET_PX, MARK_PX = 2.0, 2.4
TABLE_TITLE: Final = "What held requests back"
# Told apart by their lanes as well as by colour.
LANES: Final[dict[BindingConstraint, tuple[str, str]]] = {
    "compute": ("#D55E00", "f-vermillion"),
    "kv": ("#0072B2", "f-blue"),
    "queue": ("#E69F00", "f-orange"),
    "switching": ("#CC79A7", "f-purple"),
    "none": ("#B8B8BE", "f-grey"),
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """An episode as its lanes show it.

    Attributes:
        windows: The observation after every window, the one at reset left out.
        start: The setting in force before the first window.
        horizon: Windows of the task.
        knobs: The knobs that move.
    """

    windows: Sequence[ServeObservation]
    start: ServeAction
    horizon: int
    knobs: Sequence[str]

    @property
    def height_px(self) -> float:
        """Of the picture."""
        return HEAD_PX + GAP_PX + LANE_PX * (len(LANES) + len(self.knobs)) + FOOT_PX


def timeline(shown: Timeline, *, cursor: int | None = None, has_table: bool = True) -> str:
    """The lanes as an HTML figure.

    Args:
        shown: The episode.
        cursor: Index of a window to point at.
        has_table: Whether what held it back stands beside it in words.
    """
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH_PX} {shown.height_px:.0f}",
            "role": "img",
            "aria-label": _in_words(shown),
            "font-size": "12",
        },
    )
    text(root, 4, 17, "What held requests back, and when knobs moved", HEADING)
    top = _binding_lanes(root, shown)
    axes = _knob_lanes(root, shown, top + GAP_PX)
    if cursor is not None:
        x = axes.x_px(cursor + 0.5)
        line_element(root, (x, HEAD_PX), (x, axes.box.bottom), CURSOR)
    draw_x_axis(root, axes)
    words = _table(shown.windows) if has_table else ""
    return f"<figure>{ElementTree.tostring(root, encoding='unicode')}{words}</figure>"


def _binding_lanes(root: ElementTree.Element, shown: Timeline) -> float:
    """Draw a block per window in the lane of what held it back; the lower edge in pixels."""
    top = HEAD_PX
    for binding, (colour, css) in LANES.items():
        axes = _lane(root, shown, top, BINDING_NAMES[binding])
        for first, behind in _runs(shown.windows, binding):
            block = Box(
                axes.x_px(first),
                top + BLOCK_INSET_PX,
                axes.x_px(behind),
                top + LANE_PX - BLOCK_INSET_PX,
            )
            rectangle(root, block, colour, {"class": css})
        top += LANE_PX
    return top


def _knob_lanes(root: ElementTree.Element, shown: Timeline, top: float) -> Axes:
    """Draw a mark where a knob moved, upwards or downwards from the lane's middle."""
    axes = _axes(shown, top)
    for knob in shown.knobs:
        axes = _lane(root, shown, top, KNOB_NAMES[knob])
        middle, old = top + LANE_PX / 2, shown.start
        for index, window in enumerate(shown.windows):
            if getattr(window.config, knob) != getattr(old, knob):
                x = axes.x_px(index)
                mark = Box(x, middle - 4.5, x + MARK_PX, middle + 4.5)
                rectangle(root, mark, INK, {"class": "f-ink"})
            old = window.config
        top += LANE_PX
    return axes


def _lane(root: ElementTree.Element, shown: Timeline, top: float, label: str) -> Axes:
    axes = _axes(shown, top)
    middle = top + LANE_PX / 2
    line_element(root, (axes.box.left, middle), (axes.box.right, middle), GRID)
    text(root, LEFT_PX - 6, middle + 4, label, SMALL | {"text-anchor": "end"})
    return axes


def _axes(shown: Timeline, top: float) -> Axes:
    box = Box(LEFT_PX, top, WIDTH_PX - RIGHT_PX, top + LANE_PX)
    return Axes(box, (0.0, float(shown.horizon)), (0.0, 1.0))


def _runs(windows: Sequence[ServeObservation], binding: BindingConstraint) -> list[tuple[int, int]]:
    """First window and the one behind the last of every stretch that was held back by this."""
    runs: list[tuple[int, int]] = []
    for index, window in enumerate(windows):
        if window.binding_constraint != binding:
            continue
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _table(windows: Sequence[ServeObservation]) -> str:
    """The upper lanes as a table, folded: a row a stretch; windows count from 1, as in stories."""
    stretches = sorted(
        (first, behind, name)
        for binding, name in BINDING_NAMES.items()
        for first, behind in _runs(windows, binding)
    )
    rows = [
        [str(behind) if behind == first + 1 else f"{first + 1}-{behind}", name]
        for first, behind, name in stretches
    ]
    return folded("Table", table(["windows", "held back by"], rows, caption=TABLE_TITLE))


def _in_words(shown: Timeline) -> str:
    counts = {
        name: sum(window.binding_constraint == binding for window in shown.windows)
        for binding, name in BINDING_NAMES.items()
    }
    told = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return escape(f"Windows of {len(shown.windows)} held back by: {told or 'none played'}")
