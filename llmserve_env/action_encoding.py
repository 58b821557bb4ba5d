"""Turns actions into the arrays that learning libraries act with, and back.

Two forms, both six wide for every task, so that one policy can play all of them:

- MultiDiscrete: an index into LEVELS per knob, in the order of KNOBS.
- Box [-1, 1]: `batch_cap` from 1 at -1 to 512 at +1 on a log scale, `kv_budget_fraction` from 0.1
  to 1 on a linear one; `speculation_depth` and `quantization_tier` cut the range into equal parts,
  in the order of LEVELS; `prefill_decode_split` and `priority_routing` are true above 0.

A knob that the task holds fixed keeps the task's value, whatever the array says. An array outside
its bounds is refused, not clamped.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import KNOBS, TIERS, QuantizationTier, ServeAction
from llmserve_env.tasks import TaskSpec

# The values that a MultiDiscrete action chooses from: batch caps roughly at equal ratios.
LEVELS: Final[dict[str, tuple[Any, ...]]] = {
    "batch_cap": (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
    "kv_budget_fraction": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "speculation_depth": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "quantization_tier": TIERS,
    "prefill_decode_split": (False, True),
    "priority_routing": (False, True),
}
LEVEL_COUNTS: Final[tuple[int, ...]] = tuple(len(LEVELS[knob]) for knob in KNOBS)

_LARGEST_CAP: Final = LEVELS["batch_cap"][-1]
_SMALLEST_KV: Final = LEVELS["kv_budget_fraction"][0]
# Compared on these scales, the nearest level is the one that acts most alike.
_SCALES: Final = {"batch_cap": np.log(LEVELS["batch_cap"])}


def to_indices(action: ServeAction) -> npt.NDArray[np.int64]:
    """(6,) int64, the nearest level of each knob; batch caps are compared by ratio."""
    return np.array([nearest_level(knob, getattr(action, knob)) for knob in KNOBS], np.int64)


def nearest_level(knob: str, value: Any) -> int:
    """The index of the level next to a knob's value; the lower one of two equally near."""
    levels = LEVELS[knob]
    if value in levels:
        return levels.index(value)
    if knob == "batch_cap":
        return int(np.abs(_SCALES[knob] - np.log(value)).argmin())
    return int(np.abs(np.array(levels) - value).argmin())


def to_box(action: ServeAction) -> npt.NDArray[np.float32]:
    """(6,) float32 in [-1, 1]; choices are encoded as the middle of their part of the range."""
    cap = np.log(action.batch_cap) / np.log(_LARGEST_CAP)
    kv = (action.kv_budget_fraction - _SMALLEST_KV) / (1.0 - _SMALLEST_KV)
    choices = [
        (LEVELS[knob].index(getattr(action, knob)) + 0.5) / len(LEVELS[knob]) for knob in KNOBS[2:]
    ]
    return np.array([cap, kv, *choices], np.float32) * np.float32(2.0) - np.float32(1.0)


class ActionDecoder:
    """Reads the arrays of one task's policy as actions."""

    def __init__(self, task: TaskSpec, *, tiers: Collection[QuantizationTier] = TIERS) -> None:
        """Take the task's active knobs and fixed values.

        Args:
            task: Whose knobs are moved.
            tiers: The tiers that its deployment offers.
        """
        self._fixed = {
            knob: getattr(task.default_action, knob)
            for knob in KNOBS
            if knob not in task.active_actions
        }
        self._tiers = tiers
        self._seen: dict[tuple[int, ...], ServeAction] = {}

    def from_indices(self, indices: npt.ArrayLike) -> ServeAction:
        """The action of six level indices.

        Raises:
            InvalidInputError: If there are not six whole numbers, each within its knob's levels.
        """
        given = np.asarray(indices)
        if given.shape != (len(KNOBS),) or given.dtype.kind not in "iu":
            raise InvalidInputError(
                f"an action is {len(KNOBS)} whole numbers, got shape {given.shape} of {given.dtype}"
            )
        key = tuple(given.tolist())
        action = self._seen.get(key)
        if action is None:
            action = self._seen[key] = self._action(_levels_at(key))
        return action

    def from_box(self, values: npt.ArrayLike) -> ServeAction:
        """The action of six numbers in [-1, 1].

        Raises:
            InvalidInputError: If there are not six numbers, or one lies outside [-1, 1].
        """
        given = np.asarray(values)
        if given.shape != (len(KNOBS),) or given.dtype.kind not in "iuf":
            raise InvalidInputError(
                f"an action is {len(KNOBS)} numbers, got shape {given.shape} of {given.dtype}"
            )
        shares = [_share(knob, value) for knob, value in zip(KNOBS, given.tolist(), strict=True)]
        fields = {
            "batch_cap": round(_LARGEST_CAP ** shares[0]),
            "kv_budget_fraction": _SMALLEST_KV + (1.0 - _SMALLEST_KV) * shares[1],
            "prefill_decode_split": shares[4] > 0.5,
            "priority_routing": shares[5] > 0.5,
        }
        for knob, share in zip(KNOBS[2:4], shares[2:4], strict=True):
            levels = LEVELS[knob]
            fields[knob] = levels[min(int(share * len(levels)), len(levels) - 1)]
        return self._action(fields)

    def masks(self) -> npt.NDArray[np.bool_]:
        """(41,) bool over all levels of all knobs, one after the other: what a policy may choose.

        A fixed knob offers the level next to its value alone; a tier that the deployment lacks is
        not offered.
        """
        masks = []
        for knob in KNOBS:
            mask = np.ones(len(LEVELS[knob]), np.bool_)
            if knob in self._fixed:
                mask[:] = False
                mask[nearest_level(knob, self._fixed[knob])] = True
            elif knob == "quantization_tier":
                mask[:] = [tier in self._tiers for tier in TIERS]
            masks.append(mask)
        return np.concatenate(masks)

    def _action(self, fields: dict[str, Any]) -> ServeAction:
        return ServeAction(**fields | self._fixed)


def _levels_at(indices: tuple[int, ...]) -> dict[str, Any]:
    fields = {}
    for knob, index in zip(KNOBS, indices, strict=True):
        levels = LEVELS[knob]
        if not 0 <= index < len(levels):
            raise InvalidInputError(f"{knob}: index {index} is not in 0 to {len(levels) - 1}")
        fields[knob] = levels[index]
    return fields


def _share(knob: str, value: float) -> float:
    """Where a value lies in [-1, 1], from 0 to 1; NaN lies nowhere."""
    if not -1.0 <= value <= 1.0:
        raise InvalidInputError(f"{knob}: {value} is not in -1 to 1")
    return 0.5 * (value + 1.0)
