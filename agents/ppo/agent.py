"""The agent that acts with trained weights, on numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from agents.ppo.actions import ActionReader, action_of
from agents.ppo.policy import load_policy
from llmserve_env.encoding import FeatureEncoder
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec

WEIGHTS: Final = Path(__file__).resolve().parents[2] / "weights"
GENERALIST: Final = WEIGHTS / "generalist.npz"


class PpoAgent:
    """Does what the policy holds most likely; the same observations, the same actions."""

    def __init__(self, path: Path | None = None) -> None:
        """Take the weights of a file, or at reset those that come with the project for the task."""
        self._given = path

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Read the weights and forget the last episode.

        Raises:
            InvalidInputError: If there are no weights, or they were trained under another version
                of the environment.
        """
        path = WEIGHTS / f"{task.family}.npz" if self._given is None else self._given
        self._policy = load_policy(path)
        self._reader = ActionReader([task], self._policy.menu)
        self._encoder = FeatureEncoder()

    def act(self, observation: ServeObservation) -> ServeAction:
        """The likeliest action, knob by knob."""
        features = self._encoder.encode(observation)[None, :]
        reader = self._reader
        levels = self._policy.levels(np.hstack([features, reader.active]), reader.masks)
        return action_of(reader.rows(levels, features)[0])
