"""Trains PPO of RLlib on a registered id with N environment runners; keeps what validates best.

    pip install torch 'ray[rllib]' -e .  # an environment of its own: it pins gymnasium 1.2.2
    PYTHONPATH=. python examples/rllib_ppo.py --env-runners 2 --out runs/rllib

Beside the checkpoint, a folder, lies its learning curve, OUT.csv. Runners are processes of this
machine, or of the cluster at --address, whose nodes all need this project. `uv run` cannot do it:
the lock has a later Gymnasium than RLlib takes; the environment works with both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env

from agents.ray_pool import ray_pool
from agents.validation_curve import ValidationCurve
from llmserve_env.action_encoding import LEVEL_COUNTS, to_indices
from llmserve_env.errors import LLMServeError
from llmserve_env.tasks import shipped_catalogue

TASKS = {task.gymnasium_id: task for task in shipped_catalogue().tasks}
NAME = "llmserve"
BATCH, MINIBATCH, EPOCHS = 3_200, 800, 4
ENVS_PER_RUNNER = 32
GAMMA, LAMBDA, ENTROPY, LEARNING_RATE = 0.9, 0.95, 0.01, 1e-3
# As in sb3_ppo.py: how far the first policy leans towards the best constant action.
START_LOGITS = (1.0, 1.0, 1.0, 5.0, 5.0, 1.0)


class LeaningModule(DefaultPPOTorchRLModule):
    """RLlib's policy and value networks, the first policy leaning towards an action."""

    def setup(self) -> None:
        """Make the networks, then make the action's level of every knob likelier."""
        super().setup()
        first_of_knob = np.cumsum([0, *LEVEL_COUNTS[:-1]])
        last = [layer for layer in self.pi.modules() if isinstance(layer, torch.nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
            last.bias[first_of_knob + np.array(self.model_config["start"])] += torch.tensor(
                START_LOGITS
            )


def make_env(config: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """One environment, in whatever process a runner is."""
    import llmserve_env  # noqa: F401  # makes the ids known to Gymnasium

    return gymnasium.make(config["id"], action_mode="multidiscrete")


def config_for(env_id: str, start: npt.NDArray[np.int64], given: argparse.Namespace) -> PPOConfig:
    """The training: as large as that of the other examples."""
    model = {"fcnet_hiddens": [64, 64], "vf_share_layers": False, "start": start.tolist()}
    return (
        PPOConfig()
        .environment(NAME, env_config={"id": env_id})
        .env_runners(
            num_env_runners=given.env_runners,
            num_envs_per_env_runner=ENVS_PER_RUNNER,
            rollout_fragment_length="auto",
        )
        .training(
            lr=LEARNING_RATE,
            gamma=GAMMA,
            lambda_=LAMBDA,
            entropy_coeff=ENTROPY,
            train_batch_size_per_learner=BATCH,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=LeaningModule, model_config=model))
        .debugging(seed=given.seed, log_level="ERROR")
    )


def act_with(module: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """(envs, 6): the likeliest level of every knob."""
    with torch.no_grad():
        found = module.forward_inference({"obs": torch.as_tensor(features)})["action_dist_inputs"]
    heads = torch.split(found, list(LEVEL_COUNTS), dim=1)
    return np.stack([head.argmax(dim=1).numpy() for head in heads], axis=1)


def train(algorithm: Any, curve: ValidationCurve, given: argparse.Namespace) -> None:
    """Train, validate now and then, and save the policy whenever it is the best."""
    learnt, following, best = 0, 0, -np.inf
    while True:
        if learnt >= min(following, given.steps):
            found = curve.add(learnt, partial(act_with, algorithm.get_module()))
            following = learnt + given.steps // given.validations
            print(
                f"{learnt:>10,} windows, to best constant {found.value:+.4f} "
                f"[{found.low:+.4f}, {found.high:+.4f}]",
                flush=True,
            )
            if found.value >= best:
                best = found.value
                algorithm.save_to_path(str(given.out.resolve()))
        if learnt >= given.steps:
            return
        learnt = int(algorithm.train()["num_env_steps_sampled_lifetime"])


def main(argv: Sequence[str]) -> None:
    """Train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", choices=TASKS, default="llmserve/Bursty-v1")
    parser.add_argument("--steps", type=int, default=100_000, help="windows to learn from")
    parser.add_argument("--validations", type=int, default=8, help="beside the one before")
    parser.add_argument("--env-runners", type=int, default=2, help="processes that play")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--address", default="local", help="of a Ray cluster; local starts one")
    parser.add_argument("--out", type=Path, default=Path("runs/rllib"))
    given = parser.parse_args(argv)
    if min(given.steps, given.validations, given.env_runners) < 1:
        parser.error("--steps, --validations and --env-runners must be at least 1")
    torch.set_num_threads(1)  # more gain nothing with networks of this size
    register_env(NAME, make_env)
    try:
        with ray_pool(given.address):  # connects, and says in one line if it cannot
            curve = ValidationCurve(TASKS[given.env], given.out.with_suffix(".csv"))
            algorithm = config_for(given.env, to_indices(curve.constant), given).build_algo()
            train(algorithm, curve, given)
            algorithm.stop()
    except LLMServeError as problem:
        parser.error(str(problem))


if __name__ == "__main__":
    main(sys.argv[1:])
