"""Weights and names of the reward's terms; their arithmetic is in kernel_reward.py."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import RewardSpec
from simulator.outcome import GAIN_TERMS, PENALTY_TERMS, REWARD
from simulator.records import FloatArray

TERMS = GAIN_TERMS + PENALTY_TERMS
_COLUMNS = REWARD.names or ()
_LAYOUT = struct.Struct(f"{len(_COLUMNS)}d")


def weight_row(spec: RewardSpec) -> FloatArray:
    """(9,) float64, the weights in the order of REWARD."""
    return np.array([getattr(spec, term) for term in TERMS], np.float64)


def override_weights(spec: RewardSpec, overrides: Mapping[str, float]) -> RewardSpec:
    """The spec with some weights replaced.

    Raises:
        InvalidInputError: If a term does not exist or the weights break the spec's bounds.
    """
    unknown = sorted(set(overrides) - set(TERMS))
    if unknown:
        raise InvalidInputError(
            f"unknown reward_weights {', '.join(unknown)}; known terms: {', '.join(TERMS)}"
        )
    try:
        return RewardSpec.model_validate(spec.model_dump() | dict(overrides))
    except ValidationError as error:
        raise InvalidInputError(f"reward_weights: {error.errors()[0]['msg']}") from error


def reward_terms(record: np.void) -> dict[str, float]:
    """Every term of a REWARD record by name, each in [0, 1], and the reward itself."""
    return dict(zip(_COLUMNS, _LAYOUT.unpack(record.data), strict=True))
