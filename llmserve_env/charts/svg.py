"""SVG elements: a picture, lines, rectangles and texts, as ElementTree elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

FONT: Final = "Helvetica, Arial, sans-serif"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a panel's lines are drawn, in pixels from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


def figure_element(width_px: float, height_px: float) -> ElementTree.Element:
    """An empty white picture."""
    size = {"width": f"{width_px:.0f}", "height": f"{height_px:.0f}"}
    figure = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width_px:.0f} {height_px:.0f}",
            "font-family": FONT,
            "font-size": "12",
            **size,
        },
    )
    ElementTree.SubElement(figure, "rect", {**size, "fill": "#FFFFFF"})
    return figure


def line_element(
    figure: ElementTree.Element, start: Point, end: Point, style: Mapping[str, str]
) -> None:
    """Add a straight line."""
    (x1, y1), (x2, y2) = start, end
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    ElementTree.SubElement(figure, "line", {**ends, **style})


def polyline(
    figure: ElementTree.Element, points: Sequence[Point], style: Mapping[str, str]
) -> None:
    """Add a line through all points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    ElementTree.SubElement(figure, "polyline", {"points": joined, "fill": "none", **style})


def rectangle(
    figure: ElementTree.Element, box: Box, fill: str, style: Mapping[str, str] | None = None
) -> None:
    """Add a filled rectangle."""
    corner = {"x": f"{box.left:.1f}", "y": f"{box.top:.1f}"}
    size = {"width": f"{box.right - box.left:.1f}", "height": f"{box.bottom - box.top:.1f}"}
    ElementTree.SubElement(figure, "rect", {**corner, **size, "fill": fill, **(style or {})})


def text(
    figure: ElementTree.Element,
    x: float,
    y: float,
    content: str,
    style: Mapping[str, str] | None = None,
) -> None:
    """Add a text that starts, or by its style is centred or ends, at the point."""
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "fill": "#222222"}
    ElementTree.SubElement(figure, "text", {**place, **(style or {})}).text = content


def as_text(figure: ElementTree.Element) -> str:
    """The picture as an SVG file, indented, so that changes of it can be read."""
    ElementTree.indent(figure, " ")
    return ElementTree.tostring(figure, encoding="unicode") + "\n"
