"""Trains the policy that is flown on the tiny vLLM, in the simulator alone.

    uv run --extra train python -m scripts.train_for_vllm [--steps 900000] [--seed 0]

Writes weights/tiny_bursts.*. No server is needed, and none is asked: the tasks of
scripts/tiny_vllm_task.toml are simulated on profile cpu-tiny-fast and, scaled, on the slower
cpu-tiny, with step times that vary from episode to episode. One policy learns all, without and with
drafts that are accepted. The best constant setting is searched first, on seeds of the train split;
docs/real_vllm/training.json says what both reach on test seeds.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.batch import mean_rewards
from agents.ppo.actions import ActionReader
from agents.ppo.fleet import Lanes, Seeds
from agents.ppo.policy import load_policy
from agents.ppo.recipe import changed_recipe
from agents.ppo.validation import TaskResult, mean_scores
from agents.result_files import write_json
from agents.statistics import paired_difference
from llmserve_env.models import ServeAction
from llmserve_env.splits import split_seeds
from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import Stream
from scripts.vllm_episodes import TRAINING, WEIGHTS, slow_task, tiny_task

CAPS: Final = (4, 8, 12, 16, 20, 24, 32, 48, 64)
DEPTHS: Final = (0, 2, 4, 8)
SEARCH_SEEDS: Final = 64
TEST_SEEDS: Final = 128
TASKS: Final = (
    tiny_task(),
    tiny_task(repeats=True),
    slow_task(),
    slow_task(repeats=True),
)
# Episodes of 30 windows: an update learns from whole ones.
CHANGES: Final[dict[str, Any]] = {"windows_per_update": 30}


def settings(task: TaskSpec) -> list[ServeAction]:
    """The constants that are tried: every cap and order, and depths where drafts are accepted."""
    streams = (each for each in task.workload.streams if isinstance(each, Stream))
    accepts = any(stream.acceptance.first > 0.0 for stream in streams)
    depths = DEPTHS if accepts else DEPTHS[:1]
    return [
        task.default_action.model_copy(
            update={"batch_cap": cap, "speculation_depth": depth, "priority_routing": is_on}
        )
        for cap, depth, is_on in product(CAPS, depths, (False, True))
    ]


def best_constant(task: TaskSpec) -> ServeAction:
    """The best of them on train seeds."""
    tried = settings(task)
    scores = mean_rewards(task, split_seeds("train", SEARCH_SEEDS), tried).mean(axis=1)
    return tried[int(scores.argmax())]


def report(constants: dict[str, ServeAction], weights: Path) -> dict[str, Any]:
    """What the defaults, the constant and the policy reach on test seeds, by task."""
    policy, seeds = load_policy(weights), split_seeds("test", TEST_SEEDS)
    found: dict[str, Any] = {}
    for task in TASKS:
        constant = constants[task.task_id]
        lanes = Lanes(task, [Seeds(seed, seed) for seed in seeds])
        raw = mean_scores(lanes, policy, ActionReader([task] * len(seeds), policy.menu))
        lanes.close()
        deepest = task.default_action.model_copy(update={"speculation_depth": DEPTHS[-1]})
        fixed = mean_rewards(task, seeds, [task.default_action, deepest, constant])
        names = ("vLLM's defaults", "defaults, speculation on", "best constant", "PPO")
        scores = zip(names, (*fixed, raw), strict=True)
        difference = paired_difference(raw, fixed[2])
        found[task.task_id] = {
            "constant": constant.model_dump(),
            "seeds": len(seeds),
            "goodput_share": {name: round(float(np.mean(each)), 4) for name, each in scores},
            "ppo_above_constant": [
                round(each, 4) for each in (difference.value, difference.low, difference.high)
            ],
        }
    return found


def train(
    constants: dict[str, ServeAction], *, steps: int, seed: int, weights: Path, command: str
) -> None:
    """Train on both tasks, then write weights and card.

    Args:
        constants: The best of each task, by its id; the first policy prefers them.
        steps: Windows to learn from.
        seed: Of everything random.
        weights: Where they go.
        command: What was run, for the card.
    """
    import torch

    from agents.ppo.course import Course
    from agents.ppo.training import Plan, Training

    torch.set_num_threads(1)
    plan = Plan(
        task_ids=tuple(constants),
        steps=steps,
        seed=seed,
        folder=Path("runs") / f"tiny_bursts-seed{seed}",
        weights=weights,
        command=command,
    )
    course = Course(TASKS, tuple(constants.values()))
    Training(plan, changed_recipe(CHANGES), course=course).run(on_results=_tell)


def _tell(steps: int, results: dict[str, TaskResult]) -> None:
    for task_id, found in results.items():
        print(
            f"{steps:>9,} {task_id}: {found.mean:.4f}, to best constant {found.difference:+.4f} "
            f"[{found.low:+.4f}, {found.high:+.4f}]",
            flush=True,
        )


def main() -> int:
    """Search, train, test and write; always 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=900_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    constants = {task.task_id: best_constant(task) for task in TASKS}
    command = shlex.join(["python", "-m", "scripts.train_for_vllm", *sys.argv[1:]])
    train(
        constants, steps=options.steps, seed=options.seed, weights=options.weights, command=command
    )
    found = report(constants, options.weights)
    write_json(TRAINING, found)
    for task_id, reached in found.items():
        print(task_id, reached)
    return 0


if __name__ == "__main__":
    sys.exit(main())
