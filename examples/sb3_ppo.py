"""Trains PPO of stable-baselines3 on a registered id; keeps the policy that validates best.

    uv run --extra sb3 python examples/sb3_ppo.py --env llmserve/Bursty-v1 --out runs/sb3.zip
    uv run --extra sb3 python evaluate.py --agent sb3:runs/sb3.zip --task bursty_workload

Beside the policy lies its learning curve, FILE.csv. With --maskable it is MaskablePPO of
sb3-contrib, which spends no choice on knobs that the task holds fixed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

import llmserve_env  # noqa: F401  # makes the ids known to Gymnasium
from agents.validation_curve import ValidationCurve
from llmserve_env.action_encoding import LEVEL_COUNTS, to_indices
from llmserve_env.tasks import shipped_catalogue

TASKS = {task.gymnasium_id: task for task in shipped_catalogue().tasks}
ENVS = 64
VALIDATIONS = 16  # in a training, beside the one before it
SETTINGS: dict[str, Any] = {
    "n_steps": 50,
    "batch_size": 800,
    "n_epochs": 4,
    "gamma": 0.9,  # most of what an action changes has happened after ten windows
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "learning_rate": LinearSchedule(1e-3, 0.0, 1.0),
}
# How far the first policy leans towards the best constant action, knob by knob: a little, but
# firmly for tier and split. A change of these stops the service for seconds; tossed every window
# they never serve, and there is nothing to learn from.
START_LOGITS = (1.0, 1.0, 1.0, 5.0, 5.0, 1.0)


class ServingVecEnv(VecEnv):
    """gymnasium.make_vec in the form that stable-baselines3 steps.

    `make_vec_env(env_id, n_envs=64)` of stable-baselines3 would do as well: no class of our own,
    and two thirds of the speed, because Python steps one environment after the other.
    """

    def __init__(self, env_id: str, num_envs: int) -> None:
        """Make the environments, which start over in the very step that ends an episode."""
        self._envs: Any = gymnasium.make_vec(env_id, num_envs=num_envs, autoreset_mode="SameStep")
        spaces = self._envs.single_observation_space, self._envs.single_action_space
        super().__init__(num_envs, *spaces)

    def reset(self) -> Any:
        """(envs, features), of episodes with the seeds that the trainer set."""
        features, _ = self._envs.reset(seed=self._seeds)
        self._reset_seeds()
        return features

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Remember the actions."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Features, rewards, ends and infos; all episodes are equally long and end together."""
        features, rewards, _, truncations, infos = self._envs.step(self._actions)
        rows: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if truncations.any():  # the trainer adds the value of what would have come
            for row, last in zip(rows, infos["final_obs"], strict=True):
                row.update({"terminal_observation": last, "TimeLimit.truncated": True})
        return features, rewards.astype(np.float32), truncations, rows

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """What the method returns, a row per environment; MaskablePPO asks for `action_masks`."""
        rows = getattr(self._envs, method_name)(*method_args, **method_kwargs)
        return [rows[index] for index in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute, which is the same in all environments."""
        return [getattr(self._envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing can be set in one environment alone."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """No environment is wrapped."""
        return [False for _ in self._get_indices(indices)]


class Validate(BaseCallback):
    """Plays the validation seeds between updates and saves the policy whenever it is the best."""

    def __init__(self, curve: ValidationCurve, out: Path, *, every: int) -> None:
        """Take where results go, and how many windows lie between validations."""
        super().__init__()
        self._curve, self._out, self._every = curve, out, every
        self._next, self._best = 0, -np.inf

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self._validate()

    def _on_training_end(self) -> None:
        self._validate()

    def _validate(self) -> None:
        self._next = self.num_timesteps + self._every
        found = self._curve.add(self.num_timesteps, self._act)
        if found.value > self._best:
            self._best = found.value
            self.model.save(self._out)
        print(
            f"{self.num_timesteps:>10,} windows, to best constant {found.value:+.4f} "
            f"[{found.low:+.4f}, {found.high:+.4f}]",
            flush=True,
        )

    def _act(self, features: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        masks: dict[str, Any] = {}
        if isinstance(self.model, MaskablePPO):
            (mask,) = self.training_env.env_method("action_masks", indices=0)
            masks = {"action_masks": np.tile(mask, (len(features), 1))}
        actions: npt.NDArray[Any]
        actions, _ = self.model.predict(features, deterministic=True, **masks)
        return actions


def lean(model: PPO | MaskablePPO, action: npt.NDArray[np.int64]) -> None:
    """Make an action, a level per knob, likelier by START_LOGITS."""
    first_of_knob = np.cumsum([0, *LEVEL_COUNTS[:-1]])
    with torch.no_grad():
        bias = model.policy.get_parameter("action_net.bias")
        bias[first_of_knob + action] += torch.tensor(START_LOGITS)


def main(argv: Sequence[str]) -> None:
    """Train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=TASKS, default="llmserve/Bursty-v1")
    parser.add_argument("--steps", type=int, default=300_000, help="windows to learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/sb3.zip"))
    parser.add_argument("--maskable", action="store_true", help="MaskablePPO of sb3-contrib")
    parser.add_argument("--from-scratch", action="store_true", help="start at random")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)  # more gain nothing with networks of this size
    curve = ValidationCurve(TASKS[given.env], given.out.with_suffix(".csv"))
    kind = MaskablePPO if given.maskable else PPO
    # Times ENVS: the environments take consecutive seeds, and no two trainings shall share any.
    seed = given.seed * ENVS
    model = kind("MlpPolicy", ServingVecEnv(given.env, ENVS), seed=seed, device="cpu", **SETTINGS)
    if not given.from_scratch:
        lean(model, to_indices(curve.constant))
    model.learn(given.steps, Validate(curve, given.out, every=given.steps // VALIDATIONS))


if __name__ == "__main__":
    main(sys.argv[1:])
