"""Lines over time as text: braille dots on a grid, one colour a line, on a linear or log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

# A braille character holds 2 x 4 dots; the bit of each by column, then by row from the top.
DOT_BITS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BRAILLE: Final = 0x2800
DOTS_WIDE, DOTS_HIGH = 2, 4
LABEL_WIDTH: Final = 9


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        values: One a window, in order; None where nothing was measured.
        style: Rich's name of its colour.
    """

    values: Sequence[float | None]
    style: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Which values lie at the bottom and at the top of a chart.

    Attributes:
        low: At the bottom; values below it are drawn there.
        high: At the top; above `low`.
        is_log: Whether equal ratios take equal room; then `low` is above 0.
    """

    low: float
    high: float
    is_log: bool = False

    def height(self, value: float) -> float:
        """Where the value lies, 0 at the bottom and 1 at the top."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Room:
    """How large a chart is.

    Attributes:
        columns: Width in characters, its labels included; above LABEL_WIDTH.
        rows: Height in characters without its title, at least 2.
        windows: How many values fill the width.
    """

    columns: int
    rows: int
    windows: int


def scale_over(
    lines: Sequence[Sequence[float | None]], *, is_log: bool = False, least_high: float = 1.0
) -> Scale:
    """A scale that holds all values and 0, or on a log scale the powers of ten around them.

    Args:
        lines: The values.
        is_log: Whether it is a log scale.
        least_high: The top is at least here; above 0.
    """
    values = [value for line in lines for value in line if value is not None]
    high = max([least_high, *values])
    if not is_log:
        return Scale(min([0.0, *values]), high)
    low = min((value for value in values if value > 0.0), default=least_high)
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return Scale(10.0**bottom, 10.0 ** max(top, bottom + 1), is_log=True)


def lines_of(
    series: Sequence[Sequence[float | None]], styles: Sequence[str], count: int
) -> list[Line]:
    """A line for the first `count` values of each series, in these styles."""
    return [Line(values[:count], style) for values, style in zip(series, styles, strict=True)]


def chart(
    title: str, lines: Sequence[Line], scale: Scale, room: Room, *, level: float | None = None
) -> Text:
    """The lines as text, a title above and the scale's ends at the left.

    Args:
        title: First line of the text.
        lines: Later ones are drawn over earlier ones where they meet.
        scale: Of the values.
        room: How large it is.
        level: A dotted line across, such as an objective.
    """
    wide, rows = room.columns - LABEL_WIDTH, room.rows
    bits = [[0] * wide for _ in range(rows)]
    styles = [[""] * wide for _ in range(rows)]
    counted = [(line, room.windows) for line in lines]
    if level is not None:
        dotted = [level if at % 3 else None for at in range(wide)]
        counted.insert(0, (Line(dotted, "dim"), wide))
    for line, count in counted:
        for x, y in _dots(line, scale, wide=wide * DOTS_WIDE, high=rows * DOTS_HIGH, count=count):
            column, row = x // DOTS_WIDE, y // DOTS_HIGH
            bits[row][column] |= DOT_BITS[x % DOTS_WIDE][y % DOTS_HIGH]
            styles[row][column] = line.style
    text = Text(f"{title}\n", style="bold")
    for row in range(rows):
        label = _label(scale, row, rows)
        text.append(f"{label:>{LABEL_WIDTH - 2}} {'┤' if label else '│'}", style="not bold dim")
        for mask, style in zip(bits[row], styles[row], strict=True):
            text.append(chr(BRAILLE + mask) if mask else " ", style=f"not bold {style}".strip())
        text.append("\n")
    return text


def _dots(
    line: Line, scale: Scale, *, wide: int, high: int, count: int
) -> Sequence[tuple[int, int]]:
    """The dots of a line, joined up and down: (column from the left, row from the top)."""
    dots: list[tuple[int, int]] = []
    before: int | None = None
    for x in range(wide):
        at = x * count // wide
        value = line.values[at] if at < len(line.values) else None
        if value is None:
            before = None
            continue
        y = round((1.0 - scale.height(value)) * (high - 1))
        between = range(min(y, before), max(y, before) + 1) if before is not None else (y,)
        dots += [(x, each) for each in between]
        before = y
    return dots


def _label(scale: Scale, row: int, rows: int) -> str:
    value = {0: scale.high, rows - 1: scale.low}.get(row)
    return "" if value is None else f"{value:,.0f}"
