"""Rewrites tests/golden/*.json: `uv run python scripts/regenerate_golden.py`.

A golden file freezes what the simulator does for one shipped task: the metrics of twenty windows
under actions that move every active knob. Run this after a change that is meant to move numbers,
say in CHANGELOG.md why they moved, and raise the environment version in tasks.toml.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.environment import ServingEnvironment

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "tests" / "golden"
WINDOWS: Final = 20
SEED: Final = 20_261_121

# Held in turn, each for the number of windows given; a task moves only the knobs it has.
SETTINGS: Final[tuple[tuple[int, dict[str, Any]], ...]] = (
    (4, {"batch_cap": 256, "kv_budget_fraction": 0.9}),
    (3, {"batch_cap": 24, "kv_budget_fraction": 0.5, "speculation_depth": 2}),
    (5, {"batch_cap": 128, "kv_budget_fraction": 0.3, "quantization_tier": "INT8"}),
    (
        8,
        {
            "batch_cap": 64,
            "kv_budget_fraction": 0.15,
            "speculation_depth": 4,
            "quantization_tier": "INT8",
            "prefill_decode_split": True,
            "priority_routing": True,
        },
    ),
)


def actions_for(task: TaskSpec, windows: int) -> list[ServeAction]:
    """The action of every window; what SETTINGS leave out is the task's default."""
    default = task.default_action.model_dump()
    row: list[ServeAction] = []
    while len(row) < windows:
        for held, knobs in SETTINGS:
            active = {knob: knobs[knob] for knob in knobs if knob in task.active_actions}
            row += [ServeAction(**default | active)] * held
    return row[:windows]


def record(task_id: str) -> dict[str, Any]:
    """The golden record of a shipped task: versions, actions, and a list per metric."""
    environment = ServingEnvironment()
    task = environment.catalogue.get(task_id)
    environment.reset(task_id=task_id, seed=SEED)
    for action in actions_for(task, WINDOWS):
        environment.step(action)
    log = environment.log()
    windows = [step.metrics.model_dump(mode="json") for step in log.steps]
    return {
        "environment_version": log.environment_version,
        "numpy_version": version("numpy"),
        "numba_version": version("numba"),
        "task_id": task_id,
        "seed": log.seed,
        "actions": [step.action.model_dump(mode="json") for step in log.steps],
        "reward": [step.reward for step in log.steps],
        "metrics": {name: [window[name] for window in windows] for name in windows[0]},
    }


def as_text(golden: dict[str, Any]) -> str:
    """The record as JSON with one metric or action a line."""
    lines = []
    for key, value in golden.items():
        if key == "metrics":
            body = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f'"metrics": {{\n  {body}\n}}')
        elif key == "actions":
            body = ",\n  ".join(json.dumps(action) for action in value)
            lines.append(f'"actions": [\n  {body}\n]')
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write one file per shipped task and remove those of tasks that are gone."""
    DIRECTORY.mkdir(exist_ok=True)
    tasks = [task.task_id for task in shipped_catalogue().tasks]
    for path in DIRECTORY.glob("*.json"):
        if path.stem not in tasks:
            path.unlink()
            print(f"removed {path}")
    for task_id in tasks:
        path = DIRECTORY / f"{task_id}.json"
        path.write_text(as_text(record(task_id)), encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
