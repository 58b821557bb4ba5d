"""Plays agents on held-out seeds and says how good they are, beside baselines on the same seeds.

    uv run python evaluate.py --agent reactive --task all --episodes 20
    uv run python evaluate.py --agent my_module:MyAgent --task bursty_workload --json result.json
    uv run python evaluate.py --agent ppo --task trace:mine:ttft_ms=500
    uv run python evaluate.py --agent mine:Agent --fail-under bursty_workload=0.45 --junit out.xml

Score: 0.5 is the best constant action, 1 the clairvoyant planner, 0 random actions; a ratio of
means over the seeds. Variants (`--task variants`) and traces have raw scores only; the best
constant of a trace is that of the task on whose deployment it is played. Exit status: 1 if an
agent's score is below `--fail-under` (a number for all tasks, TASK=NUMBER for one), 2 if the
arguments are wrong, 130 if interrupted.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from agents.choices import split_list, task_ids_of
from agents.evaluation import EpisodeRecord, jobs_of, play
from agents.junit import Case, write_junit
from agents.parallel import add_worker_options, workers_of
from agents.registry import agent_names
from agents.result_files import write_json
from agents.statistics import Estimate
from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.splits import SPLITS, split_seeds
from llmserve_env.tasks import shipped_catalogue
from server.settings import use_folders_of_environment
from server.summaries import Summary, summarise
from simulator.validity import fidelity_line, merged

BASELINES: Final = ("random", "vllm_default", "heuristic", "best_constant", "reactive")
PLAIN_WIDTH: Final = 140  # columns where the output is no terminal
AGENT_WIDTH: Final = 28  # a longer name goes on in the next line
BELOW, WRONG_ARGUMENTS, INTERRUPTED = 1, 2, 130


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


def fidelity_lines(task_id: str, records: Sequence[EpisodeRecord]) -> list[str]:
    """How far the simulated numbers may be trusted, and where episodes left what was compared."""
    task = shipped_catalogue().get(task_id)
    found = merged(record.excursions for record in records)
    lines = [f"Fidelity of {fidelity_line(task.deployment.profile)}."]
    return lines + [f"! {each.line}" for each in found]


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
        "fidelity": {
            task_id: fidelity_lines(task_id, [r for r in records if r.task_id == task_id])
            for task_id in dict.fromkeys(record.task_id for record in records)
        },
        "episodes": [] if arguments.brief else [asdict(record) for record in records],
    }


def run(arguments: argparse.Namespace) -> int:
    """Play, print, write; the exit status.

    Raises:
        LLMServeError: If an agent, a task or a seed does not exist.
    """
    on = "" if arguments.profile is None else f":profile={arguments.profile}"
    task_ids = [task_id + on for task_id in task_ids_of(arguments.tasks)]
    bars = bars_of(arguments.fail_under, task_ids)
    seeds = split_seeds(arguments.split, arguments.episodes, start=arguments.seed)
    shown = list(dict.fromkeys([*arguments.agents, *arguments.baselines]))
    wanted = jobs_of(shown, task_ids, seeds)
    with episodes_bar(len(wanted)) as advance:
        records = play(wanted, workers=workers_of(arguments), on_episode=advance)
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
        for line in fidelity_lines(task_id, rows):
            console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
        summaries += found
    if arguments.json is not None:
        write_json(arguments.json, result_of(arguments, seeds, records, summaries))
    judged = [row for row in summaries if row.agent in arguments.agents]
    if arguments.junit is not None:
        cases = [_case(row, records, bars) for row in judged]
        about = {"split": arguments.split, "seeds": f"{seeds[0]} to {seeds[-1]}"}
        about["environment_version"] = shipped_catalogue().environment_version
        write_junit(arguments.junit, cases, about)
    return _verdict(judged, bars)


def bars_of(given: Sequence[str], task_ids: Sequence[str]) -> dict[str, float]:
    """The least score that is asked for on each task; a task without one is left out.

    Args:
        given: Numbers, which are for all tasks, or TASK=NUMBER; the latter counts more.
        task_ids: What is played.

    Raises:
        InvalidInputError: If one is no number from 0 to 1, or is for a task that is not played or
            has no scores.
    """
    for_all: dict[str, float] = {}
    for_one: dict[str, float] = {}
    for text in (part for each in given for part in split_list(each)):
        task_id, is_for_one, number = text.rpartition("=")
        bar = _bar(number, text)
        if not is_for_one:
            for_all = dict.fromkeys(task_ids, bar)
        elif task_id not in task_ids:
            raise InvalidInputError(
                f"--fail-under {text}: {task_id!r} is not played; tasks: {', '.join(task_ids)}"
            )
        else:
            for_one[task_id] = bar
    bars = for_all | for_one
    ungraded = [each for each in bars if shipped_catalogue().get(each).variant_of is not None]
    if ungraded:
        raise InvalidInputError(f"--fail-under is about scores, and {ungraded[0]} is not graded")
    return bars


def _bar(number: str, text: str) -> float:
    try:
        bar = float(number)
    except ValueError:
        bar = math.nan
    if not 0.0 <= bar <= 1.0:
        raise InvalidInputError(
            f"--fail-under must be a score from 0 to 1, or TASK=SCORE, got {text!r}"
        )
    return bar


def _shortfall(row: Summary, bars: Mapping[str, float]) -> str | None:
    """What is said of an agent whose score is below the bar; None if it is not."""
    bar = bars.get(row.task_id)
    if bar is None or row.score is None or row.score.value >= bar:
        return None
    return f"{row.agent} on {row.task_id}: score {row.score.value:.3f} is below {bar:g}"


def _verdict(judged: Sequence[Summary], bars: Mapping[str, float]) -> int:
    below = [line for row in judged if (line := _shortfall(row, bars))]
    for line in below:
        print(line, file=sys.stderr)
    return BELOW if below else 0


def _case(row: Summary, records: Sequence[EpisodeRecord], bars: Mapping[str, float]) -> Case:
    """The test in a JUnit report: an agent on a task, against the bar if there is one."""
    score = "none, a variant has raw scores only"
    if row.score is not None:
        score = f"{row.score.value:.4f}, 95 % interval {_interval(row.score, digits=4)}"
    bar = bars.get(row.task_id)
    told = [
        f"score: {score}",
        f"asked for: {'nothing' if bar is None else f'{bar:g} or more'}",
        f"raw score: {row.raw.value:.4f}, 95 % interval {_interval(row.raw, digits=4)}",
    ]
    told += [
        f"seed {record.seed}: raw score {record.raw_score:.4f}"
        for record in records
        if (record.agent, record.task_id) == (row.agent, row.task_id)
    ]
    return Case(row.task_id, row.agent, "\n".join(told), _shortfall(row, bars))


@contextmanager
def episodes_bar(total: int) -> Iterator[Callable[[object], None]]:
    """What to call after every episode; a bar on a terminal, nothing elsewhere."""
    columns = TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("episodes", total=total)
        yield lambda _: progress.advance(bar)


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
    add("--profile", help="another GPU profile than the tasks' own; llmserve profiles lists them")
    add("--episodes", type=_count, default=20, help="seeds per task")
    add("--seed", type=int, default=0, help="index of the first seed within the split")
    add("--split", choices=SPLITS, default="test")
    add("--baselines", default=",".join(BASELINES), help="names, all or none")
    add_worker_options(parser)
    add("--json", type=Path, help="write all results to this file")
    add("--brief", action="store_true", help="leave the episodes out of that file")
    add(
        "--fail-under",
        action="append",
        default=[],
        metavar="[TASK=]SCORE",
        help="exit with status 1 if an agent scores below, 0 to 1",
    )
    add("--junit", type=Path, help="write a JUnit report to this file, a test per agent and task")
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
    except (LLMServeError, OSError) as error:  # a full disk, a folder that is not ours
        print(f"evaluate.py: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    except KeyboardInterrupt:
        print("evaluate.py: interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
