"""How each knob of a task acts: at once, after a rebuild of the engine, or not at all."""

from __future__ import annotations

from typing import Final

from llmserve_env.models import KNOBS
from llmserve_env.tasks import TaskSpec

# These two rebuild the engine; how long that takes is the task's switch regime.
SWITCHED_KNOBS: Final = ("quantization_tier", "prefill_decode_split")
REGIME_LABELS: Final = {"standby": "warm", "warm": "warm", "cold": "cold"}


def knob_labels(task: TaskSpec) -> dict[str, str]:
    """Per knob: hot (acts at once), warm or cold (serves nothing while it switches), or fixed."""
    switched = REGIME_LABELS[task.deployment.switch_regime]
    return {
        knob: "fixed"
        if knob not in task.active_actions
        else (switched if knob in SWITCHED_KNOBS else "hot")
        for knob in KNOBS
    }
