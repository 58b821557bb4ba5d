"""What several agents do with the knobs in one episode, as small multiples in SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from agents.ppo.actions import CAP, DEPTH, KV, PRIORITY, SPLIT, TIER, FloatArray
from llmserve_env.charts.axes import FRAME, GRID, Axes, ticks
from llmserve_env.charts.svg import (
    Box,
    as_text,
    figure_element,
    line_element,
    polyline,
    rectangle,
    text,
)
from llmserve_env.models import KNOBS, TIERS

# Okabe and Ito's palette: told apart by colour-blind readers, and by the dashes without colour.
# Drawn in this order; an agent that has no style here is the one that the picture is about.
STYLES: Final = {
    "clairvoyant": {"stroke": "#009E73", "stroke-width": "1.6", "stroke-dasharray": "2 2"},
    "reactive": {"stroke": "#D55E00", "stroke-width": "1.3", "stroke-dasharray": "7 3"},
    "best_constant": {"stroke": "#000000", "stroke-width": "1.3"},
}
POLICY_STYLE: Final = {"stroke": "#0072B2", "stroke-width": "2.2"}
ARRIVALS_STYLE: Final = {"stroke": "#555555", "stroke-width": "1.2"}
SHADES: Final = ("#E3EEF9", "#FDE9CF", "#E0F2DF", "#F1E2F3", "#F0F0F0")
PLAIN: Final = "#FFFFFF"

WIDTH_PX, LEFT_PX, RIGHT_PX = 960, 84, 20
TOP_PX, BOTTOM_PX, GAP_PX, TALL_PX = 78, 44, 26, 132
LETTER_PX, SAMPLE_PX = 6.3, 26
# Lines of agents that do the same thing lie beside each other.
SIDE_STEP_PX: Final = 2.2
LEAST_ROOM, TOP_ROOM, MOST_TICKS = 0.06, 0.25, 4
LOG_CAPS: Final = (1, 8, 64, 512)


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the small multiples.

    Attributes:
        title: What is drawn.
        lines: By agent, a value per window.
        marks: Values of the y axis and what is written there.
        y_range: Values at the lower and upper edge.
        side_by_side: Whether equal lines are drawn beside each other.
        height_px: Of the panel without its title.
    """

    title: str
    lines: Mapping[str, FloatArray]
    marks: Sequence[tuple[float, str]]
    y_range: tuple[float, float]
    side_by_side: bool = False
    height_px: float = 74.0


def knob_panel(knob: str, rows: Mapping[str, FloatArray]) -> Panel:
    """What agents do with a knob.

    Args:
        knob: One of KNOBS.
        rows: By agent, (windows, 6).
    """
    index = KNOBS.index(knob)
    values = {agent: given[:, index] for agent, given in rows.items()}
    if index == KV:
        marks = [(value / 10, f"{value / 10:g}") for value in (0, 2, 4, 6, 8, 10)]
        title = "KV budget, share of the pool"
        return Panel(title, values, marks, (0.0, 1.04), height_px=TALL_PX)
    if index == CAP:
        logs = {agent: np.log2(given) for agent, given in values.items()}
        marks = [(float(np.log2(cap)), str(cap)) for cap in LOG_CAPS]
        return Panel("batch cap, requests (log scale)", logs, marks, (-0.3, 9.3))
    titles = {
        DEPTH: "speculation depth, draft tokens",
        TIER: "quantisation tier",
        SPLIT: "prefill/decode split",
        PRIORITY: "priority routing",
    }
    names = {DEPTH: ("0", "2", "4", "6", "8"), TIER: TIERS}.get(index, ("off", "on"))
    step = 2.0 if index == DEPTH else 1.0
    marks = [(step * place, name) for place, name in enumerate(names)]
    top = marks[-1][0]
    return Panel(titles[index], values, marks, (-0.18 * top, 1.18 * top), side_by_side=True)


def number_panel(title: str, lines: Mapping[str, FloatArray]) -> Panel:
    """A panel of plain numbers, all of them and zero within its edges."""
    values = np.concatenate([[0.0], *lines.values()])
    low, high = float(values.min()), float(values.max())
    extent = (high - low) or 1.0
    # The names of the regimes are written at the top.
    limits = (low - LEAST_ROOM * extent, high + TOP_ROOM * extent)
    marks = [(value, f"{value:g}") for value in ticks(limits, MOST_TICKS)]
    return Panel(title, lines, marks, limits)


def gained_so_far(
    rewards: Mapping[str, npt.NDArray[np.float64]], base: str
) -> dict[str, FloatArray]:
    """By agent, the raw score less the base's that the windows so far have brought."""
    return {
        agent: np.cumsum(given - rewards[base]) / len(given) for agent, given in rewards.items()
    }


def picture(
    title: str,
    panels: Sequence[Panel],
    *,
    window_s: float,
    regimes: Sequence[tuple[int, int, str]],
) -> str:
    """The panels below each other over one clock, as SVG.

    Args:
        title: Above all.
        panels: From top to bottom; a line of an agent without a style of its own is the policy's.
        window_s: Length of a window.
        regimes: First window, the one behind the last, and the regime that was in force.
    """
    height = TOP_PX + BOTTOM_PX + sum(panel.height_px + GAP_PX for panel in panels)
    figure = figure_element(WIDTH_PX, height)
    text(figure, 16, 24, title, {"font-size": "15", "font-weight": "bold"})
    shades = _shades(regimes)
    _legend(figure, [agent for panel in panels for agent in panel.lines], shades)
    horizon_s = window_s * max(behind for _, behind, _ in regimes)
    bottom: float = TOP_PX
    for index, panel in enumerate(panels):
        top, bottom = bottom + GAP_PX, bottom + GAP_PX + panel.height_px
        box = Box(LEFT_PX, top, WIDTH_PX - RIGHT_PX, bottom)
        axes = Axes(box, (0.0, horizon_s), panel.y_range)
        for first, behind, name in regimes:
            left, right = axes.x_px(first * window_s), axes.x_px(behind * window_s)
            rectangle(figure, Box(left, box.top, right, box.bottom), shades[name])
            if index == 0 and right - left > LETTER_PX * len(name):
                text(figure, left + 3, box.top + 11, name, {"font-size": "10"})
        _draw(figure, axes, panel, window_s)
    for value in ticks((0.0, horizon_s), 11):
        x = axes.x_px(value)
        text(figure, x, bottom + 16, f"{value:g}", {"text-anchor": "middle"})
    text(figure, (LEFT_PX + WIDTH_PX) / 2, bottom + 34, "seconds", {"text-anchor": "middle"})
    return as_text(figure)


def _draw(figure: ElementTree.Element, axes: Axes, panel: Panel, window_s: float) -> None:
    box = axes.box
    text(figure, box.left, box.top - 6, panel.title, {"font-weight": "bold"})
    for value, label in panel.marks:
        y = axes.y_px(value)
        line_element(figure, (box.left, y), (box.right, y), GRID)
        text(figure, box.left - 6, y + 4, label, {"text-anchor": "end"})
    line_element(figure, (box.left, box.top), (box.left, box.bottom), FRAME)
    line_element(figure, (box.left, box.bottom), (box.right, box.bottom), FRAME)
    ordered = sorted(panel.lines, key=_rank)
    for place, agent in enumerate(ordered):
        shift = SIDE_STEP_PX * (place - (len(ordered) - 1) / 2) if panel.side_by_side else 0.0
        points = []
        for window, value in enumerate(panel.lines[agent].tolist()):
            for edge in (window, window + 1):
                x, y = axes.point(edge * window_s, value)
                points.append((x, y + shift))
        polyline(figure, points, _style(agent))


def _rank(agent: str) -> int:
    return list(STYLES).index(agent) if agent in STYLES else len(STYLES)


def _style(agent: str) -> Mapping[str, str]:
    if agent == "":
        return ARRIVALS_STYLE
    return STYLES.get(agent, POLICY_STYLE)


def _shades(regimes: Sequence[tuple[int, int, str]]) -> dict[str, str]:
    """A shade by regime; calm, or the only one there is, stays white."""
    names = list(dict.fromkeys(name for _, _, name in regimes))
    shaded = [name for name in sorted(names) if name != "calm"] if len(names) > 1 else []
    return dict.fromkeys(names, PLAIN) | dict(zip(shaded, SHADES, strict=False))


def _legend(figure: ElementTree.Element, agents: Sequence[str], shades: Mapping[str, str]) -> None:
    x = 16.0
    for agent in sorted(dict.fromkeys(name for name in agents if name), key=_rank, reverse=True):
        line_element(figure, (x, 43), (x + SAMPLE_PX, 43), _style(agent))
        text(figure, x + SAMPLE_PX + 5, 47, agent)
        x += SAMPLE_PX + 22 + LETTER_PX * len(agent)
    x = 16.0
    for name, shade in sorted(shades.items()):
        rectangle(figure, Box(x, 58, x + SAMPLE_PX, 71), shade, FRAME)
        text(figure, x + SAMPLE_PX + 5, 69, name)
        x += SAMPLE_PX + 22 + LETTER_PX * len(name)
