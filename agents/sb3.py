"""The agent that acts with a policy of stable-baselines3: PPO, or MaskablePPO of sb3-contrib.

A file of stable-baselines3 holds pickled objects, and to read it is to run what they say: name only
files that you trust.
"""

from __future__ import annotations

import json
from pathlib import Path
from pickle import PickleError
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from llmserve_env.action_encoding import ActionDecoder
from llmserve_env.encoding import FeatureEncoder
from llmserve_env.errors import InvalidInputError
from llmserve_env.gym_env import ACTION_MODES, actions_space, features_space
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment

# Modules of the policies' classes, as the files name them.
_PLAIN: Final = "stable_baselines3.common.policies"
_MASKABLE: Final = "sb3_contrib.common.maskable.policies"
# What only a training needs is not unpickled: schedules do not survive another Python version.
_UNUSED: Final = {
    **dict.fromkeys(("learning_rate", "lr_schedule", "clip_range"), 0.0),
    "clip_range_vf": None,
}
# What becomes of a file that is cut short, or made under other versions, while it is read.
_UNREADABLE: Final = (
    *(AttributeError, EOFError, ImportError, KeyError, OSError, RuntimeError, TypeError),
    *(ValueError, PickleError),
)


class Sb3Agent:
    """Does what the policy holds most likely, on the features and levels of the Gymnasium ids."""

    def __init__(self, path: Path) -> None:
        """Take a file that `model.save` wrote; it is read at reset."""
        self._path = path

    def reset(self, task: TaskSpec, seed: int) -> None:  # noqa: ARG002
        """Read the policy and forget the last episode.

        Raises:
            InvalidInputError: If stable-baselines3 is not installed, or the file is missing, holds
                no policy of the two kinds, or one for other features or actions.
        """
        is_maskable = _is_maskable(self._path)
        self._model = _load(self._path, is_maskable=is_maskable)
        decoder = ActionDecoder(task, tiers=build_deployment(task).tiers)
        is_box = _action_mode(self._path, self._model) == "box"
        self._decode = decoder.from_box if is_box else decoder.from_indices
        self._masks = {"action_masks": decoder.masks()} if is_maskable else {}
        self._encoder = FeatureEncoder()

    def act(self, observation: ServeObservation) -> ServeAction:
        """The likeliest action."""
        features = self._encoder.encode(observation)
        action, _ = self._model.predict(features, deterministic=True, **self._masks)
        return self._decode(action)


def _is_maskable(path: Path) -> bool:
    """Whether the file is MaskablePPO's; read without unpickling anything."""
    try:
        with ZipFile(path) as archive:
            module = str(json.loads(archive.read("data"))["policy_class"]["__module__"])
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file; model.save makes it") from error
    except (OSError, BadZipFile, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"{path}: no model of stable-baselines3: {error}") from error
    if module not in (_PLAIN, _MASKABLE):
        raise InvalidInputError(
            f"{path}: its policy is of {module}; need one of {_PLAIN} or {_MASKABLE}, as PPO and "
            f"MaskablePPO save it"
        )
    return module == _MASKABLE


def _load(path: Path, *, is_maskable: bool) -> Any:
    try:
        from sb3_contrib import MaskablePPO
        from stable_baselines3 import PPO
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: needs stable-baselines3 and sb3-contrib: uv sync --extra sb3"
        ) from error
    kind = MaskablePPO if is_maskable else PPO
    try:
        return kind.load(path, device="cpu", custom_objects=_UNUSED)
    except _UNREADABLE as error:
        raise InvalidInputError(f"{path}: stable-baselines3 cannot read it: {error}") from error


def _action_mode(path: Path, model: Any) -> str:
    """In which of ACTION_MODES the policy acts.

    Raises:
        InvalidInputError: If it sees or does something else than the Gymnasium ids offer.
    """
    if model.observation_space != features_space():
        raise InvalidInputError(
            f"{path}: the policy sees {model.observation_space}, the tasks show {features_space()}"
        )
    for mode in ACTION_MODES:
        if model.action_space == actions_space(mode):
            return mode
    offered = " or ".join(str(actions_space(mode)) for mode in ACTION_MODES)
    raise InvalidInputError(
        f"{path}: the policy acts in {model.action_space}, the tasks in {offered}"
    )
