"""Measures whether return and grade order policies alike: docs/agreement.md and .json.

    uv run python -m scripts.measure_agreement

Needs docs/headroom.json. On one set of seeds, return and grade differ by the clipping only. Where
policies are compared on different seeds, returns hold the luck of the traffic, which the grade
takes out by pairing: what that costs is told, and not a gate. Exit status 1 if a gate is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.batch import mean_rewards
from agents.knobs import KnobMenu
from agents.registry import agent_entry
from agents.result_files import write_json, write_text
from agents.rollout import play_episode
from agents.statistics import rank_correlation
from grader.grading import grade
from grader.references import TaskReference, shipped_references
from grader.scoring import HIGHEST_SCORE, LOWEST_SCORE, clipped, score_unclipped
from llmserve_env.action_encoding import ActionDecoder
from llmserve_env.models import KNOBS, ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from scripts.measure_headroom import RESULTS, ROOT, read_results
from simulator.environment import ServingEnvironment
from simulator.rng import stream

REPORT: Final = ROOT / "docs" / "agreement.md"
DATA: Final = ROOT / "docs" / "agreement.json"
SPLIT: Final = "test"
LEAST_CORRELATION: Final = 0.9
GRADED_CONSTANTS: Final = 6
GRADED_SEEDS: Final = 2
LARGEST_ERROR: Final = 1e-9
DRAW_SEED: Final = 0

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How return and grade agree on one task.

    Attributes:
        task_id: Task.
        common_seeds: Spearman over constants, means over one set of seeds; the grade clipped.
        common_seeds_unclipped: The same with the grade before clipping.
        clipped_fraction: Share of the constants whose grade is clipped.
        one_seed_mean: Mean over seeds of Spearman over constants on that seed alone.
        one_seed_least: The least of these.
        own_seeds: Spearman over constants, each on another seed than its neighbours.
        agents: Spearman over the agents of the headroom table; the grade clipped.
        graded_episodes: How many episodes went through the grader itself.
        grader_error: Largest distance of its score from the one computed here.
    """

    task_id: str
    common_seeds: float
    common_seeds_unclipped: float
    clipped_fraction: float
    one_seed_mean: float
    one_seed_least: float
    own_seeds: float
    agents: float
    graded_episodes: int
    grader_error: float

    @property
    def is_met(self) -> bool:
        """Whether both correlations that are asked for are above the gate."""
        gated = min(self.common_seeds, self.agents)
        return gated > LEAST_CORRELATION and self.grader_error <= LARGEST_ERROR


def random_constants(task: TaskSpec, count: int) -> list[ServeAction]:
    """Actions drawn uniformly from the box [-1, 1] of the knobs that the task lets move."""
    tiers = KnobMenu(task).tiers
    decoder = ActionDecoder(task, tiers=tiers)
    generator = stream(DRAW_SEED, f"agreement/{task.task_id}")
    drawn: list[ServeAction] = []
    while len(drawn) < count:
        action = decoder.from_box(generator.uniform(-1.0, 1.0, len(KNOBS)))
        if action.quantization_tier in tiers:
            drawn.append(action)
    return drawn


def measure_task(
    task: TaskSpec,
    reference: TaskReference,
    headroom: dict[str, Any],
    *,
    constants: int,
    seeds: Sequence[int],
) -> Agreement:
    """The agreement on one task.

    Args:
        task: Task.
        reference: The anchors of its scale.
        headroom: Its agents in headroom.json.
        constants: How many random constants are drawn.
        seeds: They are played on.
    """
    actions = random_constants(task, constants)
    raw = mean_rewards(task, seeds, [*actions, reference.best_constant])
    raw, anchor = raw[:-1], raw[-1]
    common = [score_unclipped(row.mean(), anchor.mean(), reference) for row in raw]
    per_seed = _clipped_scores(raw, anchor, reference)
    one_seed = [rank_correlation(raw[:, at], per_seed[:, at]) for at in range(len(seeds))]
    own = np.arange(len(actions)), np.arange(len(actions)) % len(seeds)
    errors = [
        abs(_graded(task, actions[i], seeds[at]) - per_seed[i, at])
        for i in range(min(GRADED_CONSTANTS, constants))
        for at in range(min(GRADED_SEEDS, len(seeds)))
    ]
    return Agreement(
        task_id=task.task_id,
        common_seeds=rank_correlation(raw.mean(axis=1), [clipped(score) for score in common]),
        common_seeds_unclipped=rank_correlation(raw.mean(axis=1), common),
        clipped_fraction=sum(not LOWEST_SCORE < score < HIGHEST_SCORE for score in common)
        / len(common),
        one_seed_mean=float(np.mean(one_seed)),
        one_seed_least=min(one_seed),
        own_seeds=rank_correlation(raw[own], per_seed[own]),
        agents=_agents_agreement(headroom, reference),
        graded_episodes=len(errors),
        grader_error=float(max(errors)),
    )


def _clipped_scores(raw: Matrix, anchor: Matrix, reference: TaskReference) -> Matrix:
    """(constants, seeds) float64, the grade of every single episode."""
    return np.array(
        [
            [clipped(score_unclipped(j, c, reference)) for j, c in zip(row, anchor, strict=True)]
            for row in raw
        ]
    )


def _graded(task: TaskSpec, action: ServeAction, seed: int) -> float:
    """The score that the grader gives the log of an episode."""
    environment = ServingEnvironment()
    agent = agent_entry(f"constant:{action.model_dump_json()}").make()
    play_episode(agent, task, seed, episodes=environment)
    return grade(environment.log()).score


def _agents_agreement(agents: dict[str, Any], reference: TaskReference) -> float:
    anchor = agents["best_constant"]["raw_mean"]["value"]
    raw = [found["raw_mean"]["value"] for found in agents.values()]
    returns = [found["return"]["value"] for found in agents.values()]
    return rank_correlation(returns, [clipped(score_unclipped(j, anchor, reference)) for j in raw])


def page(found: Sequence[Agreement], *, version: str, constants: int, seeds: int) -> str:
    """The report in Markdown."""
    lines = [
        "# Return and grade",
        "Written by `uv run python -m scripts.measure_agreement`. Environment "
        f"{version}, split `{SPLIT}`; {constants}",
        f"random constants on {seeds} seeds per task. Spearman's rank correlation of return and "
        "clipped grade;",
        f"the first two columns are asked to be above {LEAST_CORRELATION:g}.",
        "",
        "| task | constants, common seeds | agents | not clipped | clipped share "
        "| one seed, mean / least | each on its own seed | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.task_id} | {row.common_seeds:.3f} | {row.agents:.3f} "
        f"| {row.common_seeds_unclipped:.3f} | {row.clipped_fraction:.2f} "
        f"| {row.one_seed_mean:.3f} / {row.one_seed_least:.3f} | {row.own_seeds:.3f} "
        f"| {'met' if row.is_met else '**missed**'} |"
        for row in found
    ]
    episodes = sum(row.graded_episodes for row in found)
    error = max(row.grader_error for row in found)
    return "\n".join([*lines, "", *_explanation(episodes, error)]) + "\n"


def _explanation(episodes: int, error: float) -> list[str]:
    return [
        "- On common seeds the grade is a rising function of the mean return, so only clipping can",
        "  part them: policies below random all grade 0.001 and those above the planner 0.999.",
        "- On one seed the same holds, with more of the policies clipped: the scale's gaps are",
        "  means over seeds.",
        "- Each on its own seed: returns then differ by the luck of the traffic, which the grade",
        "  takes out by replaying the best constant action on the same traffic. A low figure says",
        "  how little a return means without its seed.",
        f"- {episodes} episodes were played, logged and graded by the grader itself; its scores",
        f"  lie within {error:.0e} of those computed here.",
    ]


def main(argv: Sequence[str], headroom_file: Path = RESULTS) -> int:
    """0 if every gate is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constants", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=16)
    arguments = parser.parse_args(argv)
    headroom = read_results(headroom_file)
    catalogue = shipped_catalogue()
    version = catalogue.environment_version
    found = []
    for task in catalogue.tasks:
        reference = shipped_references().get(task.task_id, version)
        seeds = split_seeds(SPLIT, arguments.seeds)
        agents = headroom["tasks"][task.task_id]
        found.append(
            measure_task(task, reference, agents, constants=arguments.constants, seeds=seeds)
        )
    content = {"environment_version": version, "split": SPLIT, **vars(arguments)}
    write_json(DATA, content | {"tasks": [asdict(row) for row in found]})
    text = page(found, version=version, constants=arguments.constants, seeds=arguments.seeds)
    write_text(REPORT, text)
    print(text)
    return int(not all(row.is_met for row in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
