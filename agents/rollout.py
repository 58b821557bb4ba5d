"""The one loop in which an agent plays an episode, here or over the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.base import Agent, Clairvoyant
from agents.episode_summary import COLUMNS, summarise_windows
from llmserve_env.charts.episode import Track, episode_panels
from llmserve_env.charts.figures import figures, framed, style
from llmserve_env.charts.tables import table
from llmserve_env.errors import InvalidInputError
from llmserve_env.gym_env import Episodes, observation_of
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.environment import ServingEnvironment
from simulator.reward import TERMS

# Whose line it is where an episode is drawn alone.
EPISODE: Final = "episode"


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode that was played to its end.

    Attributes:
        task_id: Task.
        seed: Seed of the episode and, unless the caller asked otherwise, of its traffic.
        actions: One per window.
        rewards: (windows,) float64 in [-1, 1].
        terms: (windows, 9) float64 in [0, 1], the reward's terms in the order of TERMS.
        last: The observation after the last window.
        task: The task, complete.
        windows: The observation after every window.
    """

    task_id: str
    seed: int
    actions: tuple[ServeAction, ...]
    rewards: npt.NDArray[np.float64]
    terms: npt.NDArray[np.float64]
    last: ServeObservation
    task: TaskSpec = field(repr=False)
    windows: tuple[ServeObservation, ...] = field(repr=False)

    @property
    def mean_reward(self) -> float:
        """The mean reward of a window: the raw score of the episode."""
        return float(self.rewards.mean())

    def _repr_html_(self) -> str:
        """What a notebook shows: the episode's numbers in a row, and six charts."""
        summary = summarise_windows(self.windows, window_s=self.task.window_s)
        row = [f"{self.task.name}, seed {self.seed}", *(c.text(summary) for c in COLUMNS)]
        head = ["episode", *(column.heading for column in COLUMNS)]
        numbers = framed(table(head, [row], caption="The episode in numbers"))
        charts = figures(episode_panels(self.task, [Track(EPISODE, self.windows)]))
        return f"{style()}{numbers}{charts}"


def play_episode(
    agent: Agent,
    task: TaskSpec,
    seed: int,
    *,
    episodes: Episodes | None = None,
    agent_seed: int = 0,
    on_window: Callable[[ServeObservation], None] | None = None,
    **options: Any,
) -> Episode:
    """Play one episode.

    Args:
        agent: Who plays.
        task: What is played.
        seed: Seed of the episode.
        episodes: Where it is played; a new ServingEnvironment of this process if left out.
        agent_seed: For the agent's own random numbers.
        on_window: Called with every observation after a window.
        **options: Other fields of ResetOptions.

    Raises:
        InvalidInputError: If the agent must see the future and the episode runs elsewhere.
    """
    episodes = ServingEnvironment() if episodes is None else episodes
    observation = observation_of(episodes.reset(task_id=task.task_id, seed=seed, **options))
    agent.reset(task, agent_seed)
    if isinstance(agent, Clairvoyant):
        if not isinstance(episodes, ServingEnvironment):
            raise InvalidInputError("an agent that sees the future plays in process only")
        agent.watch(episodes)
    actions: list[ServeAction] = []
    windows: list[ServeObservation] = []
    rewards: list[float] = []
    terms: list[list[float]] = []
    while not observation.done:
        action = agent.act(observation)
        observation = observation_of(episodes.step(action))
        actions.append(action)
        windows.append(observation)
        rewards.append(float(observation.reward or 0.0))
        terms.append([observation.metadata["reward_terms"][term] for term in TERMS])
        if on_window is not None:
            on_window(observation)
    return Episode(
        task_id=task.task_id,
        seed=seed,
        actions=tuple(actions),
        rewards=np.array(rewards),
        terms=np.array(terms),
        last=observation,
        task=task,
        windows=tuple(windows),
    )
