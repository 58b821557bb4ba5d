"""Panels -> a page's figures with a table beside each, or one picture that stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Final
from xml.etree import ElementTree

from llmserve_env.charts.episode import AnyPanel
from llmserve_env.charts.lanes import LABELS, KnobPanel, draw_lanes
from llmserve_env.charts.panel import WIDTH_PX, draw_panel, number
from llmserve_env.charts.styles import INK, in_order, look_of
from llmserve_env.charts.svg import as_text, figure_element, line_element, text
from llmserve_env.charts.tables import folded, table

COLUMNS: Final = 2
ROW_WINDOWS: Final = 10
HEAD_PX, MARGIN_PX, SAMPLE_PX, LETTER_PX = 66, 14, 30, 6.9


def figures(panels: Sequence[AnyPanel], *, cursor: int | None = None, tables: bool = True) -> str:
    """HTML of the panels, side by side where there is room, under their legend.

    The page needs `style()` once.

    Args:
        panels: Over the same windows.
        cursor: A window that every panel points at.
        tables: Whether each has its numbers beside it; without them drawing is quicker.
    """
    drawn = "".join(_figure(panel, cursor, tables) for panel in panels)
    return framed(f'{legend(agents_of(panels))}<div class="grid2">{drawn}</div>')


def framed(content: str) -> str:
    """HTML to which the rules of `style` apply."""
    return f'<div class="llmserve-charts">{content}</div>'


def legend(agents: Sequence[str]) -> str:
    """HTML that says which line is whose."""
    entries = [f"<li>{sample(agent)}{escape(look_of(agent).label)}</li>" for agent in agents]
    return f'<ul class="legend" aria-label="Lines">{"".join(entries)}</ul>'


def sample(agent: str) -> str:
    """A short piece of an agent's line, as HTML."""
    style = " ".join(f'{name}="{value}"' for name, value in look_of(agent).stroke.items())
    return (
        '<svg width="34" height="10" aria-hidden="true">'
        f'<line x1="1" y1="5" x2="33" y2="5" {style}/></svg>'
    )


def picture(title: str, panels: Sequence[AnyPanel]) -> str:
    """The panels two by two under a title and a legend, as an SVG file on white."""
    rows = [panels[index : index + COLUMNS] for index in range(0, len(panels), COLUMNS)]
    heights = [max(panel.height_px for panel in row) + MARGIN_PX for row in rows]
    width = COLUMNS * WIDTH_PX + 3 * MARGIN_PX
    figure = figure_element(width, HEAD_PX + sum(heights) + MARGIN_PX)
    figure.set("role", "img")
    figure.set("aria-label", title)
    text(figure, 16, 26, title, {"font-size": "17", "font-weight": "bold", "fill": INK})
    x = 16.0
    for agent in agents_of(panels):
        look = look_of(agent)
        line_element(figure, (x, 47), (x + SAMPLE_PX, 47), look.stroke)
        text(figure, x + SAMPLE_PX + 6, 51, look.label)
        x += SAMPLE_PX + 24 + LETTER_PX * len(look.label)
    top: float = HEAD_PX
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            left = MARGIN_PX + column * (WIDTH_PX + MARGIN_PX)
            place = {"transform": f"translate({left:g} {top:g})"}
            _draw(ElementTree.SubElement(figure, "g", place), panel, None)
        top += height
    return as_text(figure)


@cache
def style() -> str:
    """A style element with the rules that the HTML of this package needs, light and dark."""
    file = resources.files("llmserve_env.charts").joinpath("charts.css")
    return f"<style>{file.read_text(encoding='utf-8')}</style>"


def agents_of(panels: Iterable[AnyPanel]) -> list[str]:
    """Whose lines there are, in the order of legends."""
    return in_order([agent for panel in panels for agent in _lines_of(panel)])


def _lines_of(panel: AnyPanel) -> Iterable[str]:
    return panel.actions if isinstance(panel, KnobPanel) else panel.lines


def _figure(panel: AnyPanel, cursor: int | None, tables: bool) -> str:
    root = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH_PX} {panel.height_px:.0f}",
            "role": "img",
            "aria-label": _in_words(panel),
            "font-size": "12",
        },
    )
    _draw(root, panel, cursor)
    drawn = ElementTree.tostring(root, encoding="unicode")
    numbers = folded("Table", _table(panel)) if tables else ""
    return f"<figure>{drawn}{numbers}</figure>"


def _draw(figure: ElementTree.Element, panel: AnyPanel, cursor: int | None) -> None:
    if isinstance(panel, KnobPanel):
        draw_lanes(figure, panel, cursor=cursor)
    else:
        draw_panel(figure, panel, cursor=cursor)


def _in_words(panel: AnyPanel) -> str:
    """What a screen reader says instead of the picture."""
    if isinstance(panel, KnobPanel):
        return f"{panel.title}: {', '.join(LABELS[knob] for knob in panel.knobs)}"
    told = []
    for agent, values in panel.lines.items():
        known = [value for value in values if value is not None]
        if known:
            mean = sum(known) / len(known)
            told.append(f"{look_of(agent).label} mean {number(mean)}, last {number(known[-1])}")
    return f"{panel.title}. {'; '.join(told) or 'Nothing played yet'}."


def _table(panel: AnyPanel) -> str:
    agents = in_order(list(_lines_of(panel)))
    head = ["windows", *(look_of(agent).label for agent in agents)]
    if isinstance(panel, KnobPanel):
        rows = _knob_rows(panel, agents)
        return table(head, rows, caption=f"{panel.title}, every {ROW_WINDOWS} windows")
    rows = []
    longest = max((len(line) for line in panel.lines.values()), default=0)
    for first in _starts(longest):
        row = [f"{first + 1}-{min(first + ROW_WINDOWS, longest)}"]
        for agent in agents:
            part = [
                value
                for value in panel.lines[agent][first : first + ROW_WINDOWS]
                if value is not None
            ]
            row.append(number(sum(part) / len(part)) if part else "-")
        rows.append(row)
    return table(head, rows, caption=f"{panel.title}: means of {ROW_WINDOWS} windows")


def _knob_rows(panel: KnobPanel, agents: Sequence[str]) -> list[list[str]]:
    longest = max((len(actions) for actions in panel.actions.values()), default=0)
    rows = []
    for first in _starts(longest):
        cells = []
        for agent in agents:
            actions = panel.actions[agent]
            shown = (
                [_short(getattr(actions[first], knob)) for knob in panel.knobs]
                if first < len(actions)
                else ["-"]
            )
            cells.append(" / ".join(shown))
        rows.append([str(first + 1), *cells])
    return rows


def _starts(windows: int) -> Iterable[int]:
    return range(0, windows, ROW_WINDOWS)


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
