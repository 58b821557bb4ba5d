"""Plays the actions of a log again and refuses the log if it claims anything else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from llmserve_env.errors import LogMismatchError, LogTooLongError, VersionMismatchError
from llmserve_env.models import EpisodeLog, EpisodeStep, ServeAction
from llmserve_env.tasks import Catalogue, RewardSpec, TaskSpec
from simulator.environment import parse_record
from simulator.metrics import snapshot
from simulator.outcome import METRICS, REWARD
from simulator.reward import override_weights, weight_row
from simulator.state import Records
from simulator.trace_simulator import TraceSimulator
from simulator.workload import task_requests

# Mathematical libraries of other machines may round the last digits otherwise. A claim this close
# is not a lie, and gains nothing: only the replay is graded.
RELATIVE_TOLERANCE: Final = 1e-9
ABSOLUTE_TOLERANCE: Final = 1e-12
# A grade plays the same traffic twice: the episode's actions and the best constant setting.
REMEMBERED_TRAFFIC: Final = 8

_traffic = lru_cache(maxsize=REMEMBERED_TRAFFIC)(task_requests)


@dataclass(frozen=True, slots=True)
class Replay:
    """What the engine measured when it played an episode again.

    Attributes:
        metrics: (windows played,) METRICS.
        rewards: (windows played,) REWARD.
    """

    metrics: Records
    rewards: Records

    def snapshots(self) -> list[dict[str, Any]]:
        """The fields of MetricsSnapshot, one dict per window."""
        return [snapshot(record) for record in self.metrics]


def replay(
    task: TaskSpec,
    actions: Sequence[ServeAction],
    *,
    seed: int,
    trace_seed: int,
    weights: RewardSpec | None = None,
) -> Replay:
    """Play these actions from the start of an episode.

    Args:
        task: What is played.
        actions: One per window, each allowed by the task.
        seed: Seed of the episode.
        trace_seed: Seed of its traffic.
        weights: Weights of the reward's terms; the task's own if left out.

    Raises:
        TierNotOfferedError: If the deployment cannot serve a tier.
    """
    metrics, rewards = np.zeros(len(actions), METRICS), np.zeros(len(actions), REWARD)
    if not actions:
        return Replay(metrics, rewards)
    simulator = TraceSimulator()
    simulator.load(task, _traffic(task, trace_seed), seed)
    if weights is not None:
        simulator.set_reward_weights(weight_row(weights))
    state = simulator.engine.state
    for index, action in enumerate(actions):
        simulator.advance(action)
        metrics[index], rewards[index] = state.metrics[0], state.rewards[0]
    return Replay(metrics, rewards)


def verified_replay(log: EpisodeLog, catalogue: Catalogue) -> Replay:
    """A replay of the log under the task's own weights, once all that the log claims holds.

    Raises:
        VersionMismatchError: If another version of the environment made the log.
        UnknownTaskError: If the catalogue lacks the task.
        LogTooLongError: If there are more steps than the task has windows.
        InvalidInputError: If a weight or an action is out of range.
        InactiveActionError: If an action moves a knob that the task holds fixed.
        TierNotOfferedError: If the deployment cannot serve a tier.
        LogMismatchError: If a reward or metric differs from the replay.
    """
    if log.environment_version != catalogue.environment_version:
        raise VersionMismatchError(got=log.environment_version, known=catalogue.environment_version)
    task = catalogue.get(log.task_id)
    if len(log.steps) > task.windows:
        raise LogTooLongError(task.task_id, steps=len(log.steps), windows=task.windows)
    weights = override_weights(task.reward, log.reward_weights)
    actions = [parse_record(ServeAction, vars(step.action)) for step in log.steps]
    for action in actions:
        task.check_action(action)
    played = replay(task, actions, seed=log.seed, trace_seed=log.trace_seed, weights=weights)
    _compare(log.steps, played)
    if weights == task.reward:
        return played
    return replay(task, actions, seed=log.seed, trace_seed=log.trace_seed)


def _compare(steps: Sequence[EpisodeStep], played: Replay) -> None:
    rewards = played.rewards["reward"].tolist()
    for number, (step, reward, measured) in enumerate(
        zip(steps, rewards, played.snapshots(), strict=True), start=1
    ):
        if not _agrees(step.reward, reward):
            raise LogMismatchError(
                step=number, field="reward", claimed=step.reward, replayed=reward
            )
        claims = vars(step.metrics)
        if claims != measured:
            _compare_fields(number, claims, measured)


def _compare_fields(number: int, claims: Mapping[str, Any], measured: Mapping[str, Any]) -> None:
    for name, value in measured.items():
        if not _agrees(claims.get(name), value):
            raise LogMismatchError(
                step=number, field=f"metrics.{name}", claimed=claims.get(name), replayed=value
            )


def _agrees(claimed: object, replayed: object) -> bool:
    """Whether two values are the same, floats to nine digits; NaN agrees with nothing."""
    if isinstance(claimed, tuple) and isinstance(replayed, tuple):
        return len(claimed) == len(replayed) and all(map(_agrees, claimed, replayed))
    if isinstance(claimed, float | int) and isinstance(replayed, float):
        return math.isclose(
            claimed, replayed, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE
        )
    return claimed == replayed
