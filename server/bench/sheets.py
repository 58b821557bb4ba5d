"""Tables of results as Markdown, CSV and LaTeX (booktabs)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table
from rich.text import Text

from agents.statistics import Difference, Estimate
from server.bench.results import TITLES, Group, Results

Cell = str | int | Estimate | Difference | None

ESCAPED: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
SEES_FUTURE: Final = " (sees the future)"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        name: Of its files.
        title: What it shows.
        head: A heading per column.
        rows: A cell per column; None where there is nothing to say.
        digits: After the decimal point; CSV has all of them.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: int = 3

    def markdown(self) -> str:
        """With intervals in brackets."""
        lines = [list(self.head), ["---", *["---:"] * (len(self.head) - 1)]]
        lines += [[self._text(cell).replace("|", "\\|") for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def csv(self) -> str:
        """With a column each for a value and the ends of its interval."""
        columns = list(zip(*self.rows, strict=True))
        wide = [any(isinstance(cell, Estimate | Difference) for cell in each) for each in columns]
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow(
            name
            for head, is_wide in zip(self.head, wide, strict=True)
            for name in ([head, f"{head} low", f"{head} high"] if is_wide else [head])
        )
        for row in self.rows:
            writer.writerow(
                value
                for cell, is_wide in zip(row, wide, strict=True)
                for value in _values(cell, is_wide)
            )
        return content.getvalue()

    def latex(self) -> str:
        """A `tabular` for a paper that uses booktabs."""
        columns = "l" + "r" * (len(self.head) - 1)
        rows = [" & ".join(map(_escaped, self.head)) + r" \\", r"\midrule"]
        rows += [" & ".join(self._latex(cell) for cell in row) + r" \\" for row in self.rows]
        body = "\n".join([r"\toprule", *rows, r"\bottomrule"])
        return f"% {self.title}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"

    def table(self, title: str) -> Table:
        """For a terminal."""
        found = Table(title=title, title_justify="left")
        for index, heading in enumerate(self.head):
            found.add_column(heading, justify="right" if index else "left", overflow="fold")
        for row in self.rows:
            found.add_row(*(Text(self._text(cell)) for cell in row))
        return found

    def _text(self, cell: Cell) -> str:
        if isinstance(cell, Estimate | Difference):
            sign = "+" if isinstance(cell, Difference) else ""
            value, low, high = (
                f"{each:{sign}.{self.digits}f}" for each in (cell.value, cell.low, cell.high)
            )
            return f"{value} [{low}, {high}]"
        return "-" if cell is None else str(cell)

    def _latex(self, cell: Cell) -> str:
        text = _escaped(self._text(cell))
        return re.sub(r"(\[.*\])$", r"{\\scriptsize \1}", text)


def sheets_of(results: Results) -> list[Sheet]:
    """All tables of a benchmark."""
    found = [_scores(results)]
    for group in results.groups:
        found += [_aggregates(group, results), _improvement(group, results)]
    return found


def _scores(results: Results) -> Sheet:
    rows: list[Sequence[Cell]] = []
    for task_id, summaries in results.summaries.items():
        for row in sorted(summaries, key=lambda row: row.raw.value, reverse=True):
            name = _named(row.agent, results)
            rows.append((task_id, name, row.score, row.raw, row.interquartile, row.to_constant))
    head = ("task", "agent", "score", "raw score", "IQM of raw score", "raw, less best constant")
    return Sheet("scores", "every agent on every task, 95 % intervals", head, rows)


def _aggregates(group: Group, results: Results) -> Sheet:
    agents = ranked(group)
    columns = list(group.aggregates[agents[0]])
    rows: list[Sequence[Cell]] = [
        (_named(agent, results), *(group.aggregates[agent][column] for column in columns))
        for agent in agents
    ]
    head = ("agent", *(column.replace("_", " ") for column in columns))
    return Sheet(f"aggregates_{group.name}", f"over the {TITLES[group.name]}", head, rows)


def _improvement(group: Group, results: Results) -> Sheet:
    agents = ranked(group)
    rows = [
        (
            _named(agent, results),
            _named(rival, results),
            group.improvement[agent][rival],
            group.wins[agent][rival],
        )
        for at, agent in enumerate(agents)
        for rival in agents[at + 1 :]
    ]
    head = ("agent", "rival", "probability of improvement", "wins on the same traffic")
    return Sheet(f"improvement_{group.name}", f"agent against agent, {group.name}", head, rows)


def ranked(group: Group) -> list[str]:
    """The group's agents, the best interquartile mean first."""
    first = next(iter(next(iter(group.aggregates.values()))))
    return sorted(
        group.aggregates, key=lambda agent: group.aggregates[agent][first].value, reverse=True
    )


def _named(agent: str, results: Results) -> str:
    return f"{agent}{SEES_FUTURE}" if agent in results.seers() else agent


def _values(cell: Cell, is_wide: bool) -> list[object]:
    if isinstance(cell, Estimate | Difference):
        return [cell.value, cell.low, cell.high]
    return [cell, None, None] if is_wide else [cell]


def _escaped(text: str) -> str:
    return "".join(ESCAPED.get(character, character) for character in text)
