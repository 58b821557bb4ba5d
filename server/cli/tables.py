"""How agents did, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.episode_summary import COLUMNS
from grader.grading import scale_of
from grader.references import shipped_references
from llmserve_env.tasks import TaskSpec
from server.cli.contests import Standing
from simulator.validity import fidelity_line, warning_lines

SHORTEST_AGENT: Final = len("best_constant")
AGENT_WIDTH: Final = 28  # a longer name goes on in the next line
SHORT_SCALE: Final = (
    "0 random actions, 0.5 the best fixed setting, 1 a planner that knows the future"
)


def standings_table(
    task: TaskSpec, seeds: Sequence[int], standings: Iterable[Standing], *, title: str | None = None
) -> Table:
    """One row an agent: its grade, then the columns of agents/episode_summary.py."""
    heading = f"{task.task_id}, {_seeds(seeds)}" if title is None else title
    # Without walls, so that a terminal of 80 columns holds it.
    table = Table(
        title=heading, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("agent", overflow="fold", min_width=SHORTEST_AGENT, max_width=AGENT_WIDTH)
    table.add_column("grade", justify="right", no_wrap=True)
    rows = list(standings)
    for column in COLUMNS:
        wide = max(len(column.text(row.summary)) for row in rows)
        # No wider than the numbers below it, so that 80 columns hold them all.
        table.add_column(
            "\n".join(wrap(column.heading, wide, break_long_words=False)),
            justify="right",
            no_wrap=True,
        )
    for row in rows:
        table.add_row(
            f"{row.agent} (sees the future)" if row.sees_future else row.agent,
            "-" if row.score is None else f"{row.score:.3f}",
            *(column.text(row.summary) for column in COLUMNS),
        )
    return table


def fidelity_lines(task: TaskSpec, standings: Iterable[Standing]) -> list[str]:
    """How far the numbers may be trusted, and which agent's episodes left what was compared."""
    told = f"Fidelity of {fidelity_line(task.deployment.profile)}."
    return [told, *warning_lines((row.agent, row.excursions) for row in standings)]


def scale_line(task: TaskSpec) -> str:
    """What a grade means, in a sentence; of a variant, that it has none."""
    if task.variant_of is not None:
        return "A variant is not graded: compare mean rewards."
    return f"Grade: {scale_of(shipped_references())}"


def _seeds(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"{len(seeds)} episodes, seeds {seeds[0]} to {seeds[-1]}"
