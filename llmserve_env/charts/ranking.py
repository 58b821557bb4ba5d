"""The table in which agents are ranked, with a bar for what they are ranked by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from llmserve_env.charts.figures import framed, sample
from llmserve_env.charts.styles import look_of

CAPTION = "Agents on the same traffic, the best first"


@dataclass(frozen=True, slots=True)
class Ranked:
    """One agent's row.

    Attributes:
        agent: Its name, by which styles.look_of knows it.
        score: Its grade in [0, 1]; None while the episode runs, or where there is none.
        cells: The other columns, as they are shown.
    """

    agent: str
    score: float | None
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading, and what it means."""

    title: str
    explanation: str


def ranking(rows: Sequence[Ranked], heads: Sequence[Head], *, no_score: str) -> str:
    """HTML of the rows in the order given.

    Args:
        rows: The agents.
        heads: Of the cells of a row.
        no_score: What stands where there is no grade.
    """
    titles = "".join(
        f'<th scope="col" title="{escape(head.explanation)}">{escape(head.title)}</th>'
        for head in heads
    )
    body = "".join(_row(row, no_score) for row in rows)
    return framed(
        f'<div class="table-scroll" role="region" tabindex="0" aria-label="{CAPTION}">'
        f'<table class="ranking"><caption class="hidden">{CAPTION}</caption><thead><tr>'
        f'<th scope="col">agent</th><th scope="col" title="0 random, 0.5 best constant, 1 '
        f'clairvoyant planner">grade</th>{titles}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _row(row: Ranked, no_score: str) -> str:
    look = look_of(row.agent)
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row.cells)
    return (
        f'<tr><th scope="row"><span class="who">{sample(row.agent)}{escape(look.label)}</span></th>'
        f"<td>{_bar(row.score, no_score)}</td>{cells}</tr>"
    )


def _bar(score: float | None, no_score: str) -> str:
    if score is None:
        return f'<span class="no-score">{escape(no_score)}</span>'
    return (
        f'<span class="bar" aria-hidden="true"><span style="width:{100 * score:.1f}%"></span>'
        f"<i></i></span><b>{score:.3f}</b>"
    )
