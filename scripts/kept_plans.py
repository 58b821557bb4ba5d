"""Schedules as text, and the planner's plans, kept until something that makes them changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.ppo.actions import FloatArray
from llmserve_env.models import KNOBS

AGENTS: Final = Path(__file__).parent.parent / "agents"
# The engine's numbers are fixed by the version of the environment.
MAKERS: Final = (
    "clairvoyant.py",
    "planning.py",
    "knobs.py",
    "reactive.py",
    "reactive_parameters.py",
    "load_estimate.py",
    "data/reactive.json",
    "data/best_constants.json",
)

Kept = dict[str, dict[str, str]]


def fingerprint(version: str) -> str:
    """16 digits for the planner as it is in this version of the environment."""
    digest = hashlib.sha256(version.encode())
    for name in MAKERS:
        digest.update((AGENTS / name).read_bytes())
    return digest.hexdigest()[:16]


def as_text(schedule: FloatArray) -> dict[str, str]:
    """A schedule (windows, 6) as a line of numbers per knob; nothing is rounded."""
    return {
        knob: " ".join(np.format_float_positional(value, trim="-") for value in schedule[:, index])
        for index, knob in enumerate(KNOBS)
    }


def from_text(lines: Mapping[str, str]) -> FloatArray:
    """(windows, 6) float64, what as_text wrote."""
    return np.array([[float(word) for word in lines[knob].split()] for knob in KNOBS]).T


def plans(
    seeds: Sequence[int], kept: Mapping[str, Any], make: Callable[[int], FloatArray]
) -> tuple[FloatArray, Kept]:
    """(windows, seeds, 6) float64, the plan of every seed, and all of them to be kept.

    Args:
        seeds: Of the episodes.
        kept: By seed, as returned before.
        make: Plans the episode of a seed, (windows, 6), if it was not kept.
    """
    texts = {str(seed): kept.get(str(seed)) or as_text(make(seed)) for seed in seeds}
    return np.stack([from_text(text) for text in texts.values()], axis=1), texts
