"""Records of episodes -> how each agent did, on the grader's scale where a task has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.base import Clairvoyant
from agents.evaluation import EpisodeRecord, make_checked
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
from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import TaskSpec, shipped_catalogue


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
    reference = reference_of(task)
    by_agent = {name: [row for row in records if row.agent == name] for name in agents}
    return [_summary(name, rows, task, reference) for name, rows in by_agent.items()]


def reference_of(task: TaskSpec) -> TaskReference | None:
    """The anchors of a graded task; None for a variant.

    Raises:
        InvalidInputError: If they are of another version.
    """
    if task.variant_of is not None:
        return None
    try:
        return shipped_references().get(task.task_id, shipped_catalogue().environment_version)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error


def constant_scores(task: TaskSpec, seeds: Sequence[int]) -> list[float]:
    """The raw score of the task's best constant action on each of these seeds.

    The grader plays it and remembers it: one meaning of 0.5 for all that scores.

    Raises:
        InvalidInputError: If the task's anchors or best constant are of another version.
    """
    reference = reference_of(task)
    version = shipped_catalogue().environment_version
    best = constant_for(task, version) if reference is None else reference.best_constant
    return [constant_tally(task, best, seed, seed).raw_score for seed in seeds]


def score_of(
    raw: Sequence[float], constant: Sequence[float], reference: TaskReference
) -> tuple[Estimate, float]:
    """The score of these episodes with its interval, clipped, and the score before clipping."""
    scaled = paired_estimate(raw, constant, lambda j, c: score_unclipped(j, c, reference))
    score = Estimate(*(clipped(value) for value in (scaled.value, scaled.low, scaled.high)))
    return score, scaled.value


def _summary(
    name: str, rows: Sequence[EpisodeRecord], task: TaskSpec, reference: TaskReference | None
) -> Summary:
    raw = [row.raw_score for row in rows]
    constant = constant_scores(task, [row.seed for row in rows])
    score, unclipped = (None, None) if reference is None else score_of(raw, constant, reference)
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
