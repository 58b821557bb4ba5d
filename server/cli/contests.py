"""Agents that play the same traffic: every window that they saw, a score, and a row each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from agents.base import Accountable, Agent, Clairvoyant
from agents.episode_summary import EpisodeSummary, mean_summary, summarise_windows
from agents.evaluation import agent_seed_of, make_checked
from agents.rollout import play_episode
from grader.grading import constant_tally
from grader.references import shipped_references
from grader.scoring import clipped, score_unclipped
from llmserve_env.episode_file import measured_in
from llmserve_env.errors import InvalidInputError, LanguageModelError, LLMServeError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import EpisodeLog, EpisodeStep, ServeObservation
from llmserve_env.splits import split_range
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.validity import Excursion, merged, observed_excursions

SHOWN: Final = ("agent", "sees_future", "score", "score_unclipped")
FIRST_TEST_SEED: Final = split_range("test").start


@dataclass(frozen=True, slots=True)
class Played:
    """One episode, as it was played.

    Attributes:
        agent: As it was asked for.
        seed: Of the episode and of its traffic.
        windows: What was observed after every window, in order.
        summary: Of those windows.
        account: What an agent that is Accountable says that it took.
        sees_future: Whether the agent was shown the traffic.
    """

    agent: str
    seed: int
    windows: tuple[ServeObservation, ...]
    summary: EpisodeSummary
    account: dict[str, float]
    sees_future: bool = False

    @property
    def raw_score(self) -> float:
        """The mean reward of a window, summed as the grader sums."""
        return math.fsum(window.reward or 0.0 for window in self.windows) / len(self.windows)

    @property
    def is_real(self) -> bool:
        """Whether it was played on a real server: then it has no grade."""
        return any("real" in window.metadata for window in self.windows)


@dataclass(frozen=True, slots=True)
class Standing:
    """How an agent did on all seeds of a contest.

    Attributes:
        agent: As it was asked for.
        sees_future: Whether it was shown the traffic: a bound then, and no rival.
        score: On the grader's scale, clipped; None on a variant and on a real server.
        score_unclipped: The same before clipping.
        summary: Means over the seeds.
        excursions: Where its episodes left what the profile was held against.
    """

    agent: str
    sees_future: bool
    score: float | None
    score_unclipped: float | None
    summary: EpisodeSummary
    excursions: tuple[Excursion, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Its fields and those of the summary, on one level."""
        own: dict[str, Any] = {name: getattr(self, name) for name in SHOWN}
        warnings = [each.line for each in self.excursions]
        return own | asdict(self.summary) | {"warnings": warnings}


def play(
    name: str,
    task: TaskSpec,
    seed: int,
    *,
    agent: Agent | None = None,
    episodes: Episodes | None = None,
    on_window: Callable[[ServeObservation], object] | None = None,
) -> Played:
    """One episode of one agent.

    Args:
        name: The agent's.
        task: What is played.
        seed: Of the episode and its traffic.
        agent: Who plays; made by its name if left out.
        episodes: Where it is played; in a new environment of this process if left out.
        on_window: Called with every observation after a window.

    Raises:
        LLMServeError: If there is no such agent, it cannot play this, or does what is not allowed.
    """
    agent = make_checked(name) if agent is None else agent
    windows: list[ServeObservation] = []

    def keep(observation: ServeObservation) -> None:
        windows.append(observation)
        if on_window is not None:
            on_window(observation)

    play_episode(
        agent, task, seed, episodes=episodes, agent_seed=agent_seed_of(seed), on_window=keep
    )
    return Played(
        agent=name,
        seed=seed,
        windows=tuple(windows),
        summary=summarise_windows(windows, window_s=task.window_s),
        account=agent.account() if isinstance(agent, Accountable) else {},
        sees_future=isinstance(agent, Clairvoyant),
    )


def contest(
    names: Sequence[str],
    task: TaskSpec,
    seeds: Sequence[int],
    *,
    episodes: Episodes | None = None,
    on_episode: Callable[[Played], object] | None = None,
) -> list[Standing]:
    """How each agent does on these seeds, the best mean reward first.

    Raises:
        InvalidInputError: Naming the agent that does not exist, cannot play the task, or did what
            is not allowed; before anything is played where that can be known.
    """
    for name in names:
        with _named(name, task):
            make_checked(name).reset(task, 0)
    standings = []
    for name in dict.fromkeys(names):
        rows = []
        for seed in seeds:
            with _named(name, task):
                rows.append(play(name, task, seed, episodes=episodes))
            if on_episode is not None:
                on_episode(rows[-1])
        standings.append(standing_of(task, rows))
    return sorted(standings, key=lambda row: row.summary.mean_reward, reverse=True)


def standing_of(task: TaskSpec, rows: Sequence[Played]) -> Standing:
    """How the agent of these episodes did, on the grader's scale where the task has one."""
    is_graded = task.variant_of is None and not any(row.is_real for row in rows)
    unclipped = _score(task, rows) if is_graded else None
    return Standing(
        agent=rows[0].agent,
        sees_future=rows[0].sees_future,
        score=None if unclipped is None else clipped(unclipped),
        score_unclipped=unclipped,
        summary=mean_summary([row.summary for row in rows]),
        excursions=merged(
            observed_excursions(task, row.windows) for row in rows if not row.is_real
        ),
    )


def log_of(task: TaskSpec, played: Played) -> EpisodeLog:
    """The log of the episode, as the grader reads it.

    Raises:
        InvalidInputError: If it was played on a real server and cannot be played again.
    """
    steps = (
        EpisodeStep(action=each.config, reward=each.reward or 0.0, metrics=measured_in(each))
        for each in played.windows
    )
    return EpisodeLog(
        environment_version=shipped_catalogue().environment_version,
        task_id=task.task_id,
        seed=played.seed,
        trace_seed=played.seed,
        reward_weights={},
        steps=tuple(steps),
    )


def _score(task: TaskSpec, rows: Sequence[Played]) -> float:
    """A ratio of means over the seeds, as the grader does it for one."""
    reference = shipped_references().scale(task, shipped_catalogue().environment_version)
    best = [
        constant_tally(task, reference.best_constant, row.seed, row.seed).raw_score for row in rows
    ]
    raw = math.fsum(row.raw_score for row in rows) / len(rows)
    return score_unclipped(raw, math.fsum(best) / len(best), reference)


@contextmanager
def _named(name: str, task: TaskSpec) -> Iterator[None]:
    """A block whose errors say which agent it was."""
    try:
        yield
    except LanguageModelError:
        raise
    except LLMServeError as error:
        raise InvalidInputError(f"{name} on {task.task_id}: {error}") from error
