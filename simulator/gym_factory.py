"""What `gymnasium.make` and `make_vec` call: environments simulated in this process."""

from __future__ import annotations

from typing import Any

from llmserve_env.encoding import FeatureEncoder, Features
from llmserve_env.gym_env import LLMServeGymEnv
from llmserve_env.models import ServeAction, ServeObservation
from simulator.deployment import build_deployment
from simulator.environment import ServingEnvironment
from simulator.vector_engine import compiled_trends
from simulator.vector_env import ServingVectorEnv


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
        self._encoder = FeatureEncoder(trends=compiled_trends)

    @property
    def observation(self) -> ServeObservation:
        """The last observation, made now."""
        return self._environment.observation

    def _start(self, **fields: Any) -> tuple[Features, dict[str, Any]]:
        observation = self._environment.reset(**fields)
        self._encoder.reset()
        return self._features(), observation.metadata

    def _play(self, action: ServeAction) -> tuple[Features, float, bool, dict[str, Any]]:
        outcome = self._environment.advance(action)
        return self._features(), outcome.reward, outcome.done, outcome.metadata

    def _features(self) -> Features:
        features: Features = self._encoder.extend(self._environment.features()[None, :])[0]
        return features


def make_gym_env(
    task_id: str, *, action_mode: str = "multidiscrete", render_mode: str | None = None
) -> LLMServeGymEnv:
    """A new environment that plays a shipped task; see LLMServeGymEnv for the modes.

    Raises:
        InvalidInputError: If a mode is unknown.
        UnknownTaskError: If no task has this id.
    """
    return SimulatedGymEnv(task_id, action_mode=action_mode, render_mode=render_mode)


def make_vector_env(task_id: str, **settings: Any) -> ServingVectorEnv:
    """Many environments of a shipped task that advance together; see ServingVectorEnv.

    Args:
        task_id: The task.
        **settings: `num_envs`, `action_mode`, `replicas`, `threads` and `autoreset_mode`.

    Raises:
        InvalidInputError: If a setting has no such value.
        UnknownTaskError: If no task has this id.
    """
    return ServingVectorEnv(task_id, **settings)
