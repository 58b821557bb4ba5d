"""Plays agents on the real-traffic variants, on test seeds: docs/variants.md and .json.

    uv run python -m scripts.measure_variants [--episodes 128] [--jobs 2]

Nothing but a variant's own best constant was ever tuned on it: the other agents bring what was
tuned or trained on its task. No planner is played, so there are raw scores and no scale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.evaluation import EpisodeRecord, Job, play
from agents.parallel import Workers, add_worker_options, workers_of
from agents.result_files import write_json, write_text
from agents.statistics import mean, paired_difference
from agents.tuned_files import constant_for
from evaluate import episodes_bar
from llmserve_env.errors import LLMServeError
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from scripts.describe_tasks import FIRST_SEED, rows
from scripts.variants_report import OWN_CONSTANT, TASK_CONSTANT, page

ROOT: Final = Path(__file__).parent.parent
REPORT: Final = ROOT / "docs" / "variants.md"
RESULTS: Final = ROOT / "docs" / "variants.json"
SPLIT: Final = "test"
LEAST_EPISODES: Final = 64
# More than a task has: episodes of one variant differ as hours of a day do.
USUAL_EPISODES: Final = 128
DESCRIBED_SEEDS: Final = 40
# By the name under which each is reported; the task's constant is another action on every variant.
REGISTERED: Final = (
    "vllm_default",
    "heuristic",
    "reactive",
    "kv_rule",
    "ppo",
    "ppo_generalist",
)


def agents_on(task: TaskSpec, catalogue: Catalogue) -> dict[str, str]:
    """The agents that play a variant: the name in the report, the name in the registry.

    Raises:
        InvalidInputError: If the task that it is a variant of has no best constant.
    """
    held = constant_for(catalogue.get(task.family), catalogue.environment_version)
    constants = {OWN_CONSTANT: "best_constant", TASK_CONSTANT: f"constant:{held.model_dump_json()}"}
    return constants | {name: name for name in REGISTERED}


def measure(catalogue: Catalogue, seeds: Sequence[int], *, workers: Workers) -> dict[str, Any]:
    """All results, ready for JSON.

    Raises:
        InvalidInputError: If an agent lacks its weights or what was tuned for it.
    """
    wanted = {
        (task.task_id, shown): [Job(registered, task.task_id, seed) for seed in seeds]
        for task in catalogue.variants
        for shown, registered in agents_on(task, catalogue).items()
    }
    jobs = [job for group in wanted.values() for job in group]
    with episodes_bar(len(jobs)) as advance:
        records = dict(zip(jobs, play(jobs, workers=workers, on_episode=advance), strict=True))
    return {
        "environment_version": catalogue.environment_version,
        "split": SPLIT,
        "seeds": list(seeds),
        "variants": {
            task.task_id: _variant(
                task,
                catalogue,
                {
                    shown: [records[job] for job in wanted[task.task_id, shown]]
                    for shown in agents_on(task, catalogue)
                },
            )
            for task in catalogue.variants
        },
    }


def _variant(
    task: TaskSpec, catalogue: Catalogue, played: Mapping[str, Sequence[EpisodeRecord]]
) -> dict[str, Any]:
    raw = {name: [record.raw_score for record in records] for name, records in played.items()}
    held = constant_for(task, catalogue.environment_version)
    return {
        "variant_of": task.family,
        "name": task.name,
        "description": task.description,
        "best_constant": held.model_dump(mode="json"),
        "traffic": _traffic(task),
        "rejected_fraction": _rejected_fraction(played[OWN_CONSTANT]),
        "agents": {
            name: {
                "raw_scores": scores,
                "raw_mean": asdict(mean(scores)),
                "to_best_constant": asdict(paired_difference(scores, raw[OWN_CONSTANT])),
            }
            for name, scores in raw.items()
        },
    }


def _traffic(task: TaskSpec) -> dict[str, list[float]]:
    """Mean, least and most over seeds of what describe_tasks.py prints."""
    seeds = range(FIRST_SEED, FIRST_SEED + DESCRIBED_SEEDS)
    return {
        name: [float(np.mean(values)), min(values), max(values)]
        for name, values in rows(task, seeds).items()
    }


def _rejected_fraction(records: Sequence[EpisodeRecord]) -> float:
    """The share of the requests that no action could have served: longer than the context."""
    counted = ("rejected_requests", "finished_requests", "dropped_requests")
    rejected, *others = (sum(record.metrics[name] for record in records) for name in counted)
    return rejected / (rejected + sum(others))


def main(argv: Sequence[str]) -> int:
    """0 when everything is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=USUAL_EPISODES, help="seeds per variant")
    add_worker_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.episodes < LEAST_EPISODES:
        parser.error(f"--episodes must be at least {LEAST_EPISODES}, got {arguments.episodes}")
    seeds = split_seeds(SPLIT, arguments.episodes)
    results = measure(shipped_catalogue(), seeds, workers=workers_of(arguments))
    write_json(RESULTS, results)
    write_text(REPORT, page(results))
    print(f"wrote {REPORT} and {RESULTS}; python -m scripts.write_readme_tables takes them over")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LLMServeError as problem:
        sys.exit(f"measure_variants: {problem}")
