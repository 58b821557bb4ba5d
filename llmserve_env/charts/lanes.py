"""The knobs of several agents over an episode: a lane per knob, a step line per agent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.axes import Axes
from llmserve_env.charts.panel import (
    AXIS,
    BOTTOM_PX,
    CURSOR,
    GRID,
    HEADING,
    LEFT_PX,
    RIGHT_PX,
    SMALL,
    TOP_PX,
    WIDTH_PX,
    corners,
    draw_x_axis,
)
from llmserve_env.charts.styles import look_of
from llmserve_env.charts.svg import Box, line_element, polyline, text
from llmserve_env.models import KNOBS, TIERS, ServeAction

LANE_PX, GAP_PX = 30.0, 22.0
# Lines of agents that do the same thing lie beside each other.
SIDE_STEP_PX: Final = 2.0
# Bounds of the knobs, as the contract has them.
BOUNDS: Final = ServeAction.model_json_schema()["properties"]
MAX_CAP: Final[int] = BOUNDS["batch_cap"]["maximum"]
MAX_DEPTH: Final[int] = BOUNDS["speculation_depth"]["maximum"]
LABELS: Final = {
    "batch_cap": "batch cap (log)",
    "kv_budget_fraction": "KV budget, share of the pool",
    "speculation_depth": "speculation depth, draft tokens",
    "quantization_tier": "quantization tier",
    "prefill_decode_split": "prefill/decode split",
    "priority_routing": "priority routing",
}
EDGES: Final = {
    "batch_cap": ("1", str(MAX_CAP)),
    "kv_budget_fraction": ("0", "1"),
    "speculation_depth": ("0", str(MAX_DEPTH)),
    "quantization_tier": (TIERS[0], TIERS[-1]),
    "prefill_decode_split": ("off", "on"),
    "priority_routing": ("off", "on"),
}


@dataclass(frozen=True, slots=True)
class KnobPanel:
    """What agents did with the knobs.

    Attributes:
        title: Of the panel.
        actions: By agent, the action in force in every window played.
        windows: Length of the x axis.
        knobs: The knobs that move, of which each has a lane.
    """

    title: str
    actions: dict[str, Sequence[ServeAction]]
    windows: int
    knobs: Sequence[str] = KNOBS

    @property
    def height_px(self) -> float:
        """With its title and its axis."""
        return TOP_PX + len(self.knobs) * (LANE_PX + GAP_PX) + BOTTOM_PX


def draw_lanes(figure: ElementTree.Element, panel: KnobPanel, *, cursor: int | None = None) -> None:
    """Draw the panel into the upper left corner of a figure, pointing at a window if asked to."""
    text(figure, LEFT_PX, 17, panel.title, HEADING)
    axes = Axes(Box(LEFT_PX, TOP_PX, WIDTH_PX - RIGHT_PX, TOP_PX), (0, panel.windows), (0, 1))
    for index, knob in enumerate(panel.knobs):
        top = TOP_PX + index * (LANE_PX + GAP_PX) + GAP_PX
        box = Box(LEFT_PX, top, WIDTH_PX - RIGHT_PX, top + LANE_PX)
        axes = Axes(box, (0.0, float(panel.windows)), (0.0, 1.0))
        _lane(figure, axes, panel, knob)
    if cursor is not None:
        x = axes.x_px(cursor + 0.5)
        line_element(figure, (x, TOP_PX + GAP_PX), (x, axes.box.bottom), CURSOR)
    draw_x_axis(figure, axes)


def _lane(figure: ElementTree.Element, axes: Axes, panel: KnobPanel, knob: str) -> None:
    box = axes.box
    text(figure, box.left + 2, box.top - 6, LABELS[knob], SMALL)
    for y, label in zip((box.bottom, box.top), EDGES[knob], strict=True):
        line_element(figure, (box.left, y), (box.right, y), GRID)
        text(figure, box.left - 6, y + 4, label, SMALL | {"text-anchor": "end"})
    line_element(figure, (box.left, box.top), (box.left, box.bottom), AXIS)
    for place, (agent, actions) in enumerate(panel.actions.items()):
        shift = SIDE_STEP_PX * (place - (len(panel.actions) - 1) / 2)
        points = []
        for window, action in enumerate(actions):
            y = axes.y_px(place_of(knob, action)) + shift
            points += [(axes.x_px(window), y), (axes.x_px(window + 1), y)]
        if points:
            polyline(figure, corners(points), look_of(agent).stroke)


def place_of(knob: str, action: ServeAction) -> float:
    """Where a knob stands between the least (0) and the most (1) that it may be set to."""
    value = getattr(action, knob)
    if knob == "batch_cap":
        return math.log(value) / math.log(MAX_CAP)
    if knob == "quantization_tier":
        return TIERS.index(value) / (len(TIERS) - 1)
    if knob == "speculation_depth":
        return float(value) / MAX_DEPTH
    return float(value)
