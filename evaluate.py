"""Plays agents on held-out seeds and says how good they are, beside baselines on the same seeds.

    uv run python evaluate.py --agent reactive --task all --episodes 20
    uv run python evaluate.py --agent my_module:MyAgent --task bursty_workload --json result.json
    uv run python evaluate.py --agent ppo --task trace:mine:ttft_ms=500

Score: 0.5 is the best constant action, 1 the clairvoyant planner, 0 random actions; a ratio of
means over the seeds. Variants (`--task variants`) and traces have raw scores only; the best
constant of a trace is that of the task on whose deployment it is played. Exit status: 1 if an
agent's score is below `--fail-under`, 2 if the arguments are wrong, 130 if interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
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
from agents.tuned_files import constant_for
from grader.grading import constant_tally
from grader.references import TaskReference, shipped_references
from grader.scoring import clipped, score_unclipped
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.splits import SPLITS, split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.settings import use_folders_of_environment

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
        score: On the scale of the grader, clipped; its interval too. None on a variant.
        score_unclipped: The same before clipping.
        raw: Mean raw score of an episode.
        interquartile: Mean of the middle half of the raw scores.
        to_constant: Raw score less that of the best constant action on the same seeds.
    """

    agent: str
    task_id: str
    sees_future: bool
    score: Estimate | None
    score_unclipped: float | None
    raw: Estimate
    interquartile: Estimate
    to_constant: Difference


def summarise(records: Sequence[EpisodeRecord], agents: Sequence[str]) -> list[Summary]:
    """One summary per agent, from the records of one task, the same seeds for every agent.

    Raises:
        InvalidInputError: If the task's anchors or best constant are of another version.
    """
    task = shipped_catalogue().get(records[0].task_id)
    reference = _reference(task)
    by_agent = {name: [row for row in records if row.agent == name] for name in agents}
    return [_summary(name, rows, task, reference) for name, rows in by_agent.items()]


def _summary(
    name: str, rows: Sequence[EpisodeRecord], task: TaskSpec, reference: TaskReference | None
) -> Summary:
    raw = [row.raw_score for row in rows]
    version = shipped_catalogue().environment_version
    best = constant_for(task, version) if reference is None else reference.best_constant
    # Replayed by the grader, which remembers it: one meaning of 0.5 for all that scores.
    constant = [constant_tally(task, best, row.seed, row.seed).raw_score for row in rows]
    score = unclipped = None
    if reference is not None:
        scaled = paired_estimate(raw, constant, lambda j, c: score_unclipped(j, c, reference))
        score = Estimate(*(clipped(value) for value in (scaled.value, scaled.low, scaled.high)))
        unclipped = scaled.value
    return Summary(
        agent=name,
        task_id=task.task_id,
        sees_future=isinstance(make_checked(name), Clairvoyant),
        score=score,
        score_unclipped=unclipped,
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
    for row in sorted(summaries, key=lambda row: row.raw.value, reverse=True):
        difference = row.to_constant
        table.add_row(
            f"{row.agent} (sees the future)" if row.sees_future else row.agent,
            "-" if row.score is None else f"{row.score.value:.3f}",
            "-" if row.score is None else _interval(row.score),
            f"{row.raw.value:.4f}",
            _interval(row.raw, digits=4),
            f"{row.interquartile.value:.4f}",
            f"{difference.value:+.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
        )
    return table


def asked_line(name: str, records: Sequence[EpisodeRecord]) -> str:
    """What an agent that asks a language model took in these episodes; empty for any other."""
    totals: Counter[str] = Counter()
    for record in records:
        if record.agent == name:
            asked = {key: value for key, value in record.metrics.items() if key.startswith("llm_")}
            totals.update(asked)
    if not totals:
        return ""
    prefix = "llm_failed_"
    counted = ("llm_failed_decisions", "llm_failed_calls")
    kinds = [key for key in sorted(totals) if key.startswith(prefix) and key not in counted]
    failures = ", ".join(f"{totals[key]:.0f} {key.removeprefix(prefix)}" for key in kinds)
    return (
        f"{name}: {totals['llm_decisions']:.0f} decisions, "
        f"{totals['llm_failed_decisions']:.0f} failed ({failures or 'none'}), "
        f"{totals['llm_calls']:.0f} calls, {totals['llm_prompt_tokens']:.0f} tokens in, "
        f"{totals['llm_completion_tokens']:.0f} out"
    )


def _interval(estimate: Estimate, *, digits: int = 3) -> str:
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def result_of(
    arguments: argparse.Namespace,
    seeds: Sequence[int],
    records: Sequence[EpisodeRecord],
    summaries: Sequence[Summary],
) -> dict[str, Any]:
    """All that was found and how it was made, ready for JSON; `--brief` leaves the episodes out."""
    return {
        "environment_version": shipped_catalogue().environment_version,
        "split": arguments.split,
        "seeds": list(seeds),
        "agents": arguments.agents,
        "baselines": arguments.baselines,
        "summaries": [asdict(row) for row in summaries],
        "episodes": [] if arguments.brief else [asdict(record) for record in records],
    }


def run(arguments: argparse.Namespace) -> int:
    """Play, print, write; the exit status.

    Raises:
        LLMServeError: If an agent, a task or a seed does not exist.
    """
    task_ids = _task_ids(arguments.tasks)
    _check_bar(arguments.fail_under, task_ids)
    seeds = split_seeds(arguments.split, arguments.episodes, start=arguments.seed)
    shown = list(dict.fromkeys([*arguments.agents, *arguments.baselines]))
    wanted = jobs_of(shown, task_ids, seeds)
    with episodes_bar(len(wanted)) as advance:
        records = play(wanted, processes=arguments.jobs, on_episode=advance)
    summaries = []
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    for task_id in task_ids:
        rows = [record for record in records if record.task_id == task_id]
        found = summarise(rows, shown)
        console.print(table_of(task_id, found, len(seeds)))
        for name in shown:
            if line := asked_line(name, rows):
                # A name may hold what rich would read as an emoji: llm:m: and the like.
                console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
        summaries += found
    if arguments.json is not None:
        write_json(arguments.json, result_of(arguments, seeds, records, summaries))
    return _verdict(arguments, summaries)


def _task_ids(names: Sequence[str]) -> list[str]:
    """The ids that are meant, each once: `all` are the graded tasks, `variants` their variants."""
    catalogue = shipped_catalogue()
    groups = {"all": catalogue.tasks, "variants": catalogue.variants}
    meant = [task for name in names for task in groups.get(name) or (catalogue.get(name),)]
    return list(dict.fromkeys(task.task_id for task in meant))


def _reference(task: TaskSpec) -> TaskReference | None:
    """The anchors of a graded task; None for a variant."""
    if task.variant_of is not None:
        return None
    try:
        return shipped_references().get(task.task_id, shipped_catalogue().environment_version)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def _check_bar(bar: float | None, task_ids: Sequence[str]) -> None:
    ungraded = [each for each in task_ids if shipped_catalogue().get(each).variant_of is not None]
    if bar is not None and ungraded:
        raise InvalidInputError(f"--fail-under is about scores, and {ungraded[0]} is not graded")


def _verdict(arguments: argparse.Namespace, summaries: Sequence[Summary]) -> int:
    bar = float("-inf") if arguments.fail_under is None else arguments.fail_under
    below = [
        f"{row.agent} on {row.task_id}: score {row.score.value:.3f} is below {bar:g}"
        for row in summaries
        if row.agent in arguments.agents and row.score is not None and row.score.value < bar
    ]
    for line in below:
        print(line, file=sys.stderr)
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
    add(
        "--agent",
        action="append",
        required=True,
        help="name, module:Class, constant:{JSON}, llm:MODEL",
    )
    add("--task", default="all", help="task ids, all that are graded, or variants")
    add("--episodes", type=_count, default=20, help="seeds per task")
    add("--seed", type=int, default=0, help="index of the first seed within the split")
    add("--split", choices=SPLITS, default="test")
    add("--baselines", default=",".join(BASELINES), help="names, all or none")
    add("--jobs", type=_count, default=os.cpu_count() or 1, help="processes")
    add("--json", type=Path, help="write all results to this file")
    add("--brief", action="store_true", help="leave the episodes out of that file")
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
    use_folders_of_environment()
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
