"""Reads the actions of many environments at once as the engine's rows of numbers.

What ActionDecoder of llmserve_env/action_encoding.py does for one action, by table look-up; tests
hold the two equal.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmserve_env.action_encoding import LEVEL_COUNTS, LEVELS
from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.models import KNOBS, TIERS
from llmserve_env.tasks import TaskSpec
from simulator.deployment import Deployment
from simulator.engine import action_row
from simulator.records import FloatArray
from simulator.state import ACTION_BATCH_CAP, ACTION_KV_BUDGET, ACTION_TIER

_COUNTS: Final = np.array(LEVEL_COUNTS)
_COLUMNS: Final = np.arange(len(KNOBS))
_LARGEST_CAP: Final = float(LEVELS["batch_cap"][-1])
_SMALLEST_KV: Final = float(LEVELS["kv_budget_fraction"][0])


class VectorDecoder:
    """Reads the arrays of one task's policy, a row per environment, as the engine's actions."""

    def __init__(self, task: TaskSpec, deployment: Deployment) -> None:
        """Take the task's active knobs and fixed values, and the tiers of its deployment."""
        self._deployment = deployment
        self._fixed = np.array([knob not in task.active_actions for knob in KNOBS])
        self._fixed_row = action_row(task.default_action)
        # (knobs, levels): what each level means to the engine.
        self._levels = np.zeros((len(KNOBS), max(LEVEL_COUNTS)))
        for row, knob in enumerate(KNOBS):
            levels = TIERS if knob == "quantization_tier" else LEVELS[knob]
            values = range(len(levels)) if knob == "quantization_tier" else levels
            self._levels[row, : len(levels)] = values
        self._levels[self._fixed] = self._fixed_row[self._fixed, None]

    def from_indices(self, indices: npt.ArrayLike, envs: int) -> FloatArray:
        """(envs, 6) float64 in the form of engine.action_row.

        Args:
            indices: (envs, 6) whole numbers, a level of every knob.
            envs: How many environments act.

        Raises:
            InvalidInputError: If the shape or an index is not one of these.
            TierNotOfferedError: If the deployment cannot serve a tier.
        """
        given = _shaped(indices, envs, kinds="iu")
        wrong = (given < 0) | (given >= _COUNTS)
        if wrong.any():
            env, knob = np.argwhere(wrong)[0]
            raise InvalidInputError(
                f"environment {env}, {KNOBS[knob]}: index {given[env, knob]} is not in "
                f"0 to {LEVEL_COUNTS[knob] - 1}"
            )
        return self._offered(self._levels[_COLUMNS, given])

    def from_box(self, values: npt.ArrayLike, envs: int) -> FloatArray:
        """(envs, 6) float64 in the form of engine.action_row.

        Args:
            values: (envs, 6) numbers in [-1, 1].
            envs: How many environments act.

        Raises:
            InvalidInputError: If the shape or a number is not one of these.
            TierNotOfferedError: If the deployment cannot serve a tier.
        """
        given = _shaped(values, envs, kinds="iuf").astype(np.float64)
        wrong = ~((given >= -1.0) & (given <= 1.0))
        if wrong.any():
            env, knob = np.argwhere(wrong)[0]
            raise InvalidInputError(
                f"environment {env}, {KNOBS[knob]}: {given[env, knob]} is not in -1 to 1"
            )
        shares = 0.5 * (given + 1.0)
        rows = np.minimum(np.floor(shares * _COUNTS), _COUNTS - 1.0)
        # What is true above 0 is false at 0, unlike the parts that depth and tier cut.
        rows[:, 4:] = shares[:, 4:] > 0.5
        rows[:, ACTION_BATCH_CAP] = np.rint(_LARGEST_CAP ** shares[:, ACTION_BATCH_CAP])
        kv = shares[:, ACTION_KV_BUDGET]
        rows[:, ACTION_KV_BUDGET] = _SMALLEST_KV + (1.0 - _SMALLEST_KV) * kv
        rows[:, self._fixed] = self._fixed_row[self._fixed]
        return self._offered(rows)

    def _offered(self, rows: FloatArray) -> FloatArray:
        offered = self._deployment.tiers
        if len(offered) < len(TIERS):
            allowed = np.array([tier in offered for tier in TIERS])
            refused = ~allowed[rows[:, ACTION_TIER].astype(np.int64)]
            if refused.any():
                tier = TIERS[int(rows[refused, ACTION_TIER][0])]
                raise TierNotOfferedError(self._deployment.profile.name, tier, offered)
        return rows


def _shaped(actions: npt.ArrayLike, envs: int, *, kinds: str) -> npt.NDArray[Any]:
    given = np.asarray(actions)
    if given.shape != (envs, len(KNOBS)) or given.dtype.kind not in kinds:
        numbers = "numbers" if "f" in kinds else "whole numbers"
        raise InvalidInputError(
            f"actions are ({envs}, {len(KNOBS)}) {numbers}, got shape {given.shape} of "
            f"{given.dtype}"
        )
    return given
