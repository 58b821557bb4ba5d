"""What the tests of the trainer share: a tiny recipe, short tasks, a policy made by hand."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from agents.ppo.actions import HEADS, width_of
from agents.ppo.policy import Layers, Policy
from agents.ppo.recipe import KvMenu, Recipe, parse_recipe
from llmserve_env.encoding import FEATURES
from llmserve_env.tasks import TaskSpec
from tests.builders import task

TINY: dict[str, Any] = {
    "traces": 2,
    "replicas": 2,
    "windows_per_update": 2,
    "epochs": 2,
    "minibatches": 2,
    "hidden_units": 8,
    "validations": 2,
    "validation_seeds": 2,
}
MENU = KvMenu(
    multipliers=(1.0, 2.0), offsets=(0.0, 0.25), slacks=(0.0, 0.1), start=(1.0, 0.25, 0.0)
)


def recipe(**changes: Any) -> Recipe:
    """The shipped recipe, but tiny and with these changes."""
    text = resources.files("agents.ppo").joinpath("recipe.toml").read_text(encoding="utf-8")
    return parse_recipe(text, **TINY | changes)


def one_knob(knob: str = "batch_cap", windows: int = 4) -> TaskSpec:
    """A task that moves one knob, with a name of its own."""
    return task(windows=windows, active_actions=[knob], task_id=f"only_{knob}")


def policy(seed: int = 0, hidden: int = 8) -> Policy:
    """A policy with random weights."""
    rng = np.random.default_rng(seed)
    inputs, outputs = len(FEATURES) + HEADS, HEADS * width_of(MENU)
    shapes = [
        (inputs, hidden),
        (hidden,),
        (hidden, hidden),
        (hidden,),
        (hidden, outputs),
        (outputs,),
    ]
    return Policy(Layers(*(rng.normal(size=shape).astype(np.float32) for shape in shapes)), MENU)
