"""Plays agents on held-out seeds and says how good they are, beside baselines on the same seeds.

    uv run python evaluate.py --agent reactive --task all --episodes 20
    uv run python evaluate.py --agent my_module:MyAgent --task bursty_workload --json result.json

Score: 0.5 is the best constant action, 1 the clairvoyant planner, 0 random actions; a ratio of
means over the seeds. Exit status: 1 if an agent's score is below `--fail-under`, 2 if the
arguments are wrong, 130 if interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.base import Clairvoyant
from agents.evaluation import EpisodeRecord, jobs_of, make_checked, play
from agents.registry import agent_names
from agents.result_files import write_json
from agents.statistics import (
    Difference,
    Estimate,
    interquartile_mean,
    mean,
    paired_difference,
    paired_estimate,
)
from grader.grading import constant_tally
from grader.references import TaskReference, shipped_references
from grader.scoring import clipped, score_unclipped
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.splits import SPLITS, split_seeds
from llmserve_env.tasks import shipped_catalogue

BASELINES: Final = ("random", "vllm_default", "heuristic", "best_constant", "reactive")
PLAIN_WIDTH: Final = 140  # columns where the output is no terminal
AGENT_WIDTH: Final = 28  # a longer name goes on in the next line
BELOW, WRONG_ARGUMENTS, INTERRUPTED = 1, 2, 130


@dataclass(frozen=True, slots=True)
class Summary:
    """How an agent did on the seeds of one task.

    Attributes:
        agent: As it was asked for.
        task_id: Task.
        sees_future: Whether it was shown the traffic: a bound then, and no rival.
        score: On the scale of the grader, clipped; its interval too.
        score_unclipped: The same before clipping.
        raw: Mean raw score of an episode.
        interquartile: Mean of the middle half of the raw scores.
        to_constant: Raw score less that of the best constant action on the same seeds.
    """

    agent: str
    task_id: str
    sees_future: bool
    score: Estimate
    score_unclipped: float
    raw: Estimate
    interquartile: Estimate
    to_constant: Difference


def summarise(
    records: Sequence[EpisodeRecord], agents: Sequence[str], reference: TaskReference
) -> list[Summary]:
    """One summary per agent, from the records of one task, the same seeds for every agent."""
    by_agent = {name: [row for row in records if row.agent == name] for name in agents}
    return [_summary(name, rows, reference) for name, rows in by_agent.items()]


def _summary(name: str, rows: Sequence[EpisodeRecord], reference: TaskReference) -> Summary:
    task = shipped_catalogue().get(rows[0].task_id)
    raw = [row.raw_score for row in rows]
    # Replayed by the grader, which remembers it: one meaning of 0.5 for all that scores.
    constant = [
        constant_tally(task, reference.best_constant, row.seed, row.seed).raw_score for row in rows
    ]
    score = paired_estimate(raw, constant, lambda j, c: score_unclipped(j, c, reference))
    return Summary(
        agent=name,
        task_id=task.task_id,
        sees_future=isinstance(make_checked(name), Clairvoyant),
        score=Estimate(*(clipped(value) for value in (score.value, score.low, score.high))),
        score_unclipped=score.value,
        raw=mean(raw),
        interquartile=interquartile_mean(raw),
        to_constant=paired_difference(raw, constant),
    )


def table_of(task_id: str, summaries: Sequence[Summary], episodes: int) -> Table:
    """The summaries of one task as a table, the best score first."""
    table = Table(title=f"{task_id}, {episodes} episodes", title_justify="left")
    table.add_column("agent", overflow="fold", max_width=AGENT_WIDTH)
    for heading in ("score", "95 %", "raw mean", "95 %", "IQM", "to best constant", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(summaries, key=lambda row: row.score_unclipped, reverse=True):
        difference = row.to_constant
        table.add_row(
            f"{row.agent} (sees the future)" if row.sees_future else row.agent,
            f"{row.score.value:.3f}",
            _interval(row.score),
            f"{row.raw.value:.4f}",
            _interval(row.raw, digits=4),
            f"{row.interquartile.value:.4f}",
            f"{difference.value:+.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
        )
    return table


def _interval(estimate: Estimate, *, digits: int = 3) -> str:
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def result_of(
    arguments: argparse.Namespace,
    seeds: Sequence[int],
    records: Sequence[EpisodeRecord],
    summaries: Sequence[Summary],
) -> dict[str, Any]:
    """All that was found and how it was made, ready for JSON."""
    return {
        "environment_version": shipped_catalogue().environment_version,
        "split": arguments.split,
        "seeds": list(seeds),
        "agents": arguments.agents,
        "baselines": arguments.baselines,
        "summaries": [asdict(row) for row in summaries],
        "episodes": [asdict(record) for record in records],
    }


def run(arguments: argparse.Namespace) -> int:
    """Play, print, write; the exit status.

    Raises:
        LLMServeError: If an agent, a task or a seed does not exist.
    """
    catalogue = shipped_catalogue()
    task_ids = [task.task_id for task in catalogue.tasks]
    if arguments.tasks != ["all"]:
        task_ids = [catalogue.get(task_id).task_id for task_id in arguments.tasks]
    seeds = split_seeds(arguments.split, arguments.episodes, start=arguments.seed)
    references = {task_id: _reference(task_id) for task_id in task_ids}
    shown = list(dict.fromkeys([*arguments.agents, *arguments.baselines]))
    wanted = jobs_of(shown, task_ids, seeds)
    with episodes_bar(len(wanted)) as advance:
        records = play(wanted, processes=arguments.jobs, on_episode=advance)
    summaries = []
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    for task_id in task_ids:
        rows = [record for record in records if record.task_id == task_id]
        found = summarise(rows, shown, references[task_id])
        console.print(table_of(task_id, found, len(seeds)))
        summaries += found
    if arguments.json is not None:
        write_json(arguments.json, result_of(arguments, seeds, records, summaries))
    return _verdict(arguments, summaries)


def _reference(task_id: str) -> TaskReference:
    try:
        return shipped_references().get(task_id, shipped_catalogue().environment_version)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _verdict(arguments: argparse.Namespace, summaries: Sequence[Summary]) -> int:
    below = [
        row
        for row in summaries
        if row.agent in arguments.agents
        and arguments.fail_under is not None
        and row.score.value < arguments.fail_under
    ]
    for row in below:
        print(
            f"{row.agent} on {row.task_id}: score {row.score.value:.3f} is below "
            f"{arguments.fail_under:g}",
            file=sys.stderr,
        )
    return BELOW if below else 0


@contextmanager
def episodes_bar(total: int) -> Iterator[Callable[[object], None]]:
    """What to call after every episode; a bar on a terminal, nothing elsewhere."""
    columns = TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("episodes", total=total)
        yield lambda _: progress.advance(bar)


def split_list(text: str) -> list[str]:
    """The parts between commas; those inside of braces belong to a constant's JSON."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--agent", action="append", required=True, help="name, module:Class or constant:{JSON}")
    add("--task", default="all", help="task ids, or all")
    add("--episodes", type=_count, default=20, help="seeds per task")
    add("--seed", type=int, default=0, help="index of the first seed within the split")
    add("--split", choices=SPLITS, default="test")
    add("--baselines", default=",".join(BASELINES), help="names, all or none")
    add("--jobs", type=_count, default=os.cpu_count() or 1, help="processes")
    add("--json", type=Path, help="write all results to this file")
    add("--fail-under", type=float, help="exit with status 1 if an agent scores below")
    arguments = parser.parse_args(argv)
    arguments.agents = [name for given in arguments.agent for name in split_list(given)]
    arguments.tasks = split_list(arguments.task)
    arguments.baselines = {"none": [], "all": list(agent_names())}.get(
        arguments.baselines, split_list(arguments.baselines)
    )
    if not arguments.agents or not arguments.tasks:
        parser.error("--agent and --task need at least one name each")
    return arguments


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments)
    except LLMServeError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    except KeyboardInterrupt:
        print("evaluate.py: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
