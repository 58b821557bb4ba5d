"""Learning curves of several training seeds, as CSV and as a picture made without any library."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final
from xml.etree import ElementTree

from agents.result_files import write_text
from llmserve_env.charts.axes import Axes
from llmserve_env.charts.svg import Box, as_text, figure_element, line_element, polyline, text

# Okabe and Ito's palette: told apart by colour-blind readers, and by the dashes without colour.
SEED_STYLE: Final = {"stroke": "#56B4E9", "stroke-width": "1"}
MEDIAN_STYLE: Final = {"stroke": "#0072B2", "stroke-width": "3"}
CONSTANT_STYLE: Final = {"stroke": "#000000", "stroke-width": "1.5"}
REACTIVE_STYLE: Final = {"stroke": "#D55E00", "stroke-width": "1.5", "stroke-dasharray": "8 4"}
CLAIRVOYANT_STYLE: Final = {"stroke": "#009E73", "stroke-width": "1.5", "stroke-dasharray": "2 3"}
PANEL_WIDTHS_PX: Final = {1: 640, 2: 420, 3: 330}
PANEL_HEIGHT_PX: Final = 300
MARGIN_LEFT_PX, MARGIN_RIGHT_PX, MARGIN_TOP_PX, MARGIN_BOTTOM_PX = 74, 16, 84, 50
LEGEND_SAMPLE_PX, LETTER_PX = 26, 6.6


@dataclass(frozen=True, slots=True)
class Curve:
    """How one training went.

    Attributes:
        seed: Of the training.
        steps: Windows learnt from, at every validation.
        differences: Mean raw score less the best constant's at every validation, by task.
    """

    seed: int
    steps: tuple[float, ...]
    differences: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Anchors:
    """How far the agents that are drawn in lie above the best constant action of a task."""

    reactive: float
    clairvoyant: float


def read_curve(path: Path, seed: int) -> Curve:
    """The curve that train.py left in a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    ending = "/difference"
    names = [name for name in rows[0] if name.endswith(ending)]
    return Curve(
        seed=seed,
        steps=tuple(float(row["steps"]) for row in rows),
        differences={
            name.removesuffix(ending): tuple(float(row[name]) for row in rows) for name in names
        },
    )


def write_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Write a row per seed and validation, a column per task."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    tasks = list(curves[0].differences)
    writer.writerow(["seed", "steps", *(f"{task}/difference" for task in tasks)])
    for curve in curves:
        for index, steps in enumerate(curve.steps):
            values = (f"{curve.differences[task][index]:.6g}" for task in tasks)
            writer.writerow([curve.seed, f"{steps:.0f}", *values])
    write_text(path, content.getvalue())


def picture(title: str, curves: Sequence[Curve], anchors: dict[str, Anchors]) -> str:
    """The curves as SVG: a panel per task, thin lines for seeds and a thick one for their median.

    Args:
        title: Above all.
        curves: Of trainings that differ in their seed alone.
        anchors: By task, which gives the order of the panels.
    """
    width = PANEL_WIDTHS_PX.get(len(anchors), min(PANEL_WIDTHS_PX.values()))
    figure = figure_element(width * len(anchors), PANEL_HEIGHT_PX + MARGIN_TOP_PX)
    text(figure, 16, 26, title, {"font-size": "16", "font-weight": "bold"})
    _legend(figure, len(curves))
    for index, (task, found) in enumerate(anchors.items()):
        box = Box(
            left=index * width + MARGIN_LEFT_PX,
            top=MARGIN_TOP_PX,
            right=(index + 1) * width - MARGIN_RIGHT_PX,
            bottom=PANEL_HEIGHT_PX + MARGIN_TOP_PX - MARGIN_BOTTOM_PX,
        )
        _panel(figure, box, task, curves, found)
    return as_text(figure)


def _panel(
    figure: ElementTree.Element, box: Box, task: str, curves: Sequence[Curve], anchors: Anchors
) -> None:
    lines = [curve.differences[task] for curve in curves]
    levels = (0.0, anchors.reactive, anchors.clairvoyant)
    values = [value for line in lines for value in line] + list(levels)
    axes = Axes.around(box, x_values=curves[0].steps, y_values=values)
    axes.draw(figure, x_label="windows learnt from", y_label="raw score, less best constant's")
    middle = (box.left + box.right) / 2
    text(figure, middle, box.top - 8, task, {"text-anchor": "middle", "font-weight": "bold"})
    for level, style in zip(
        levels, (CONSTANT_STYLE, REACTIVE_STYLE, CLAIRVOYANT_STYLE), strict=True
    ):
        y = axes.y_px(level)
        line_element(figure, (box.left, y), (box.right, y), style)
    for curve in curves:
        points = zip(curve.steps, curve.differences[task], strict=True)
        polyline(figure, [axes.point(*point) for point in points], SEED_STYLE)
    middles = [median(at_once) for at_once in zip(*lines, strict=True)]
    points = zip(curves[0].steps, middles, strict=True)
    polyline(figure, [axes.point(*point) for point in points], MEDIAN_STYLE)


def _legend(figure: ElementTree.Element, seeds: int) -> None:
    x, y = 16.0, 48.0
    for label, style in _legend_entries(seeds):
        line_element(figure, (x, y - 4), (x + LEGEND_SAMPLE_PX, y - 4), style)
        text(figure, x + LEGEND_SAMPLE_PX + 5, y, label)
        x += LEGEND_SAMPLE_PX + 20 + LETTER_PX * len(label)


def _legend_entries(seeds: int) -> Iterator[tuple[str, dict[str, str]]]:
    yield "a seed", SEED_STYLE
    yield f"median of {seeds} seeds", MEDIAN_STYLE
    yield "best constant", CONSTANT_STYLE
    yield "tuned reactive", REACTIVE_STYLE
    yield "clairvoyant", CLAIRVOYANT_STYLE
