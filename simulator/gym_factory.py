"""What `gymnasium.make` calls: a task's Gymnasium environment, simulated in this process."""

from __future__ import annotations

from typing import Any

from llmserve_env.encoding import Features
from llmserve_env.gym_env import LLMServeGymEnv
from llmserve_env.models import ServeAction, ServeObservation
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment


class SimulatedGymEnv(LLMServeGymEnv):
    """LLMServeGymEnv that reads the features off the engine's arrays.

    Making the observation and taking it apart again would take longer than simulating the window.
    """

    def __init__(self, task_id: str, **modes: Any) -> None:
        """Make a simulator for a shipped task.

        Args:
            task_id: The task.
            **modes: `action_mode` and `render_mode` of LLMServeGymEnv.

        Raises:
            InvalidInputError: If a mode is unknown.
            UnknownTaskError: If no task has this id.
        """
        self._environment = ServingEnvironment()
        task = self._environment.catalogue.get(task_id)
        tiers = build_deployment(task).tiers
        super().__init__(self._environment, task=task, tiers=tiers, **modes)

    @property
    def observation(self) -> ServeObservation:
        """The last observation, made now."""
        return self._environment.observation

    def _start(self, **fields: Any) -> tuple[Features, dict[str, Any]]:
        observation = self._environment.reset(**fields)
        return self._environment.features(), observation.metadata

    def _play(self, action: ServeAction) -> tuple[Features, float, bool, dict[str, Any]]:
        outcome = self._environment.advance(action)
        features = self._environment.features()
        return features, outcome.reward, outcome.done, outcome.metadata


def make_gym_env(
    task_id: str, *, action_mode: str = "multidiscrete", render_mode: str | None = None
) -> LLMServeGymEnv:
    """A new environment that plays a shipped task; see LLMServeGymEnv for the modes.

    Raises:
        InvalidInputError: If a mode is unknown.
        UnknownTaskError: If no task has this id.
    """
    return SimulatedGymEnv(task_id, action_mode=action_mode, render_mode=render_mode)
