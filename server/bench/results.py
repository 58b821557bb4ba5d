"""Episodes of a grid -> what is reported: by task, over all tasks, and agent against agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agents.evaluation import EpisodeRecord
from agents.statistics import Estimate, Values
from agents.stratified import (
    AGGREGATES,
    Profile,
    aggregate,
    probability_of_improvement,
    profile,
    share_of_wins,
)
from grader.scoring import score_unclipped
from llmserve_env.tasks import shipped_catalogue
from server.bench.grid import Grid
from server.summaries import Summary, constant_scores, reference_of, summarise

GRADED, VARIANTS = "graded", "variants"
TITLES: Final = {
    GRADED: "graded tasks, score: 0 random, 0.5 best constant, 1 clairvoyant",
    VARIANTS: "variants, raw score less that of the variant's own best constant",
}
# Of an optimality gap: it needs a scale on which 1 is the best that can be done.
ONLY_GRADED: Final = "optimality_gap"
THRESHOLDS: Final = 121
# Of the axis of profiles: beyond, an agent is worse than random or a constant by far.
LEAST: Final = {GRADED: -0.1, VARIANTS: -0.5}


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks whose episodes are on one scale, and what that amounts to.

    Attributes:
        name: `graded` or `variants`.
        task_ids: Its tasks.
        scores: By agent (tasks, episodes): the score of each episode; raw differences on variants.
        aggregates: By agent, then by name.
        improvement: By agent, then by rival: how likely an episode of the agent is better.
        wins: By agent, then by rival: on which share of the same traffic it is better.
        profiles: By agent.
    """

    name: str
    task_ids: tuple[str, ...]
    scores: Mapping[str, Values]
    aggregates: Mapping[str, Mapping[str, Estimate]]
    improvement: Mapping[str, Mapping[str, Estimate]]
    wins: Mapping[str, Mapping[str, Estimate]]
    profiles: Mapping[str, Profile]


@dataclass(frozen=True, slots=True)
class Results:
    """All that a benchmark reports.

    Attributes:
        grid: What was played.
        summaries: By task, in the grid's order of agents.
        groups: Those that have tasks in the grid.
    """

    grid: Grid
    summaries: Mapping[str, Sequence[Summary]]
    groups: Sequence[Group]

    def seers(self) -> frozenset[str]:
        """The agents that were shown the traffic: bounds, not rivals."""
        first = next(iter(self.summaries.values()))
        return frozenset(row.agent for row in first if row.sees_future)


def results_of(grid: Grid, records: Sequence[EpisodeRecord]) -> Results:
    """The results of a grid that was played.

    Args:
        grid: What was played.
        records: One for each of its episodes.

    Raises:
        InvalidInputError: If a task's anchors or best constant are of another version.
    """
    by_task = {
        task_id: [record for record in records if record.task_id == task_id]
        for task_id in grid.task_ids
    }
    summaries = {task_id: summarise(rows, grid.agents) for task_id, rows in by_task.items()}
    names: dict[str, list[str]] = {GRADED: [], VARIANTS: []}
    for task_id in grid.task_ids:
        is_graded = shipped_catalogue().get(task_id).variant_of is None
        names[GRADED if is_graded else VARIANTS].append(task_id)
    groups = [_group(name, ids, grid, by_task) for name, ids in names.items() if ids]
    return Results(grid, summaries, groups)


def episode_scores(task_id: str, seeds: Sequence[int], raw: Sequence[float]) -> list[float]:
    """Every episode on its group's scale.

    On graded tasks the grader's, not clipped; the mean of these is near the score of all episodes,
    which is a ratio of means, and not the same. On others the difference to the best constant.
    """
    task = shipped_catalogue().get(task_id)
    constant = constant_scores(task, seeds)
    reference = reference_of(task)
    if reference is None:
        return [own - best for own, best in zip(raw, constant, strict=True)]
    return [score_unclipped(own, best, reference) for own, best in zip(raw, constant, strict=True)]


def _group(
    name: str, task_ids: Sequence[str], grid: Grid, by_task: Mapping[str, list[EpisodeRecord]]
) -> Group:
    scores = {
        agent: np.array(
            [
                episode_scores(
                    task_id,
                    grid.seeds,
                    [row.raw_score for row in by_task[task_id] if row.agent == agent],
                )
                for task_id in task_ids
            ]
        )
        for agent in grid.agents
    }
    shown = {key: way for key, way in AGGREGATES.items() if name == GRADED or key != ONLY_GRADED}
    highest = max(float(values.max()) for values in scores.values())
    thresholds = np.linspace(LEAST[name], max(highest, LEAST[name] + 0.1), THRESHOLDS)
    rivals = {agent: [other for other in grid.agents if other != agent] for agent in grid.agents}
    return Group(
        name=name,
        task_ids=tuple(task_ids),
        scores=scores,
        aggregates={
            agent: {key: aggregate(values, way) for key, way in shown.items()}
            for agent, values in scores.items()
        },
        improvement={
            agent: {
                rival: probability_of_improvement(scores[agent], scores[rival])
                for rival in rivals[agent]
            }
            for agent in grid.agents
        },
        wins={
            agent: {rival: share_of_wins(scores[agent], scores[rival]) for rival in rivals[agent]}
            for agent in grid.agents
        },
        profiles={agent: profile(values, thresholds) for agent, values in scores.items()},
    )
