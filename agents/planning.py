"""What both planners share: many futures of one episode at once, and the moves they try."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.knobs import (
    LARGEST_DEPTH,
    LARGEST_KV,
    SMALLEST_DEPTH,
    SMALLEST_KV,
    KnobMenu,
    Setting,
    clip_cap,
    clip_kv,
)
from llmserve_env.models import KNOBS, TIERS, ServeAction
from llmserve_env.tasks import TaskSpec
from simulator.engine import SimulatedEngine
from simulator.reward import weight_row
from simulator.state import ACTION_BATCH_CAP, ACTION_DEPTH, ACTION_KV_BUDGET, State, allocate

FloatArray = npt.NDArray[np.float64]

# Factors on the value in force, and depths, that a planner tries: from fine steps to large ones.
KV_FACTORS: Final = (0.4, 0.6, 0.8, 0.9, 1.1, 1.25, 1.6, 2.5)
CAP_FACTORS: Final = (0.25, 0.5, 0.75, 1.33, 2.0)
DEPTHS: Final = (0, 1, 2, 3, 5)
# The same for a stretch of a schedule that is good already, and how finely budgets count there.
EDIT_KV_FACTORS: Final = (0.9, 0.95, 0.98, 0.99, 1.01, 1.02, 1.05, 1.1)
EDIT_KV_DECIMALS: Final = 3
EDIT_CAP_FACTORS: Final = (0.8, 0.9, 1.1, 1.25)
# Arrays of the state whose last axis is the requests; the rest of it is never read.
REQUEST_TABLES: Final = ("requests", "orders")
# Knobs that move while the engine serves; the others stop it and need a plan of their own.
HOT_KNOBS: Final = ("batch_cap", "kv_budget_fraction", "speculation_depth", "priority_routing")


class Futures:
    """Plays one state ahead under many schedules side by side."""

    def __init__(self, task: TaskSpec, capacity: int, width: int) -> None:
        """Allocate room.

        Args:
            task: What is played, under its own reward weights.
            capacity: Requests that an episode may have.
            width: Schedules played in one call of the engine.
        """
        self._engine = SimulatedEngine(task)
        self._state = allocate(width, capacity)
        self._weights = np.tile(weight_row(task.reward), (width, 1))
        self._width = width

    def returns(self, start: State, schedules: FloatArray) -> FloatArray:
        """(futures,) float64, the sum of rewards of each schedule from the same start.

        Args:
            start: Of one environment; stays as it is. Its request table may be shorter.
            schedules: (futures, windows, 6) in the form of engine.action_row.
        """
        rows = range(0, len(schedules), self._width)
        return np.concatenate([self._play(start, schedules[i : i + self._width]) for i in rows])

    def _play(self, start: State, schedules: FloatArray) -> FloatArray:
        futures = len(schedules)
        state = State._make(array[:futures] for array in self._state)
        requests = int(start.environments[0]["requests"])
        for name, ours, given in zip(State._fields, state, start, strict=True):
            if name in REQUEST_TABLES:
                ours[..., :requests] = given[0, ..., :requests]
            else:
                ours[:] = given[0]
        self._engine.state = state
        total = np.zeros(futures)
        for window in range(schedules.shape[1]):
            actions = np.ascontiguousarray(schedules[:, window])
            self._engine.step(actions, self._weights[:futures])
            total += state.rewards["reward"]
        return total


class Moves:
    """The settings next to a setting that a planner tries, as rows of engine.action_row."""

    def __init__(self, task: TaskSpec) -> None:
        """Look up what the task lets a planner move."""
        self._menu = KnobMenu(task)

    def hot(self, row: FloatArray) -> list[FloatArray]:
        """One hot knob moved, every other as it is."""
        caps = [clip_cap(row[ACTION_BATCH_CAP] * factor) for factor in CAP_FACTORS]
        budgets = [clip_kv(row[ACTION_KV_BUDGET] * factor) for factor in KV_FACTORS]
        choices_of: tuple[Sequence[float], ...] = (caps, budgets, DEPTHS, (0, 1))
        return [
            moved
            for knob, choices in zip(HOT_KNOBS, choices_of, strict=True)
            if self._menu.moves(knob)
            for moved in _with_values(row, KNOBS.index(knob), choices)
        ]

    def random(self, row: FloatArray, count: int, rng: np.random.Generator) -> list[FloatArray]:
        """Several hot knobs moved at once, at random."""
        moved = [row.copy() for _ in range(count)]
        for candidate in moved:
            if self._menu.moves("batch_cap") and rng.random() < 0.5:
                factor = np.exp(rng.normal(0.0, 0.5))
                candidate[ACTION_BATCH_CAP] = clip_cap(row[ACTION_BATCH_CAP] * factor)
            if self._menu.moves("kv_budget_fraction"):
                factor = np.exp(rng.normal(0.0, 0.4))
                candidate[ACTION_KV_BUDGET] = clip_kv(row[ACTION_KV_BUDGET] * factor)
            if self._menu.moves("speculation_depth") and rng.random() < 0.5:
                candidate[ACTION_DEPTH] = rng.choice(DEPTHS)
        return moved

    def edits(self, schedule: FloatArray, first: int, behind: int) -> list[FloatArray]:
        """The windows `first` to before `behind` with one hot knob edited: (windows, 6) each.

        A knob is scaled, moved by one, or held at what it is just before, just behind or at first,
        which spares a change.
        """
        stretch = schedule[first:behind]
        edited: list[FloatArray] = []
        for knob, changed in _EDITS.items():
            if not self._menu.moves(knob):
                continue
            column = KNOBS.index(knob)
            neighbours = schedule[
                [max(first - 1, 0), first, min(behind, len(schedule) - 1)], column
            ]
            held = [np.full(len(stretch), value) for value in dict.fromkeys(neighbours.tolist())]
            for values in changed(stretch[:, column]) + held:
                if not np.array_equal(values, stretch[:, column]):
                    candidate = stretch.copy()
                    candidate[:, column] = values
                    edited.append(candidate)
        return edited

    def warm(self, row: FloatArray) -> list[FloatArray]:
        """Another tier or the other split, every other knob as it is."""
        moved: list[FloatArray] = []
        for knob in KNOBS:
            if knob in HOT_KNOBS or not self._menu.moves(knob):
                continue
            levels = self._menu.levels(knob)
            values = [TIERS.index(level) if level in TIERS else int(level) for level in levels]
            moved.extend(_with_values(row, KNOBS.index(knob), values))
        return moved

    def action(self, row: FloatArray) -> ServeAction:
        """A row as an action of the task."""
        cap, kv, depth, tier, split, priority = row.tolist()
        return self._menu.action(
            Setting(int(cap), kv, int(depth), TIERS[int(tier)], bool(split), bool(priority))
        )


# What a stretch of each hot knob may become, besides being held at one value.
_EDITS: Final[dict[str, Callable[[FloatArray], list[FloatArray]]]] = {
    "batch_cap": lambda caps: [
        np.array([clip_cap(cap * factor) for cap in caps], np.float64)
        for factor in EDIT_CAP_FACTORS
    ],
    "kv_budget_fraction": lambda budgets: [
        np.clip(budgets * factor, SMALLEST_KV, LARGEST_KV).round(EDIT_KV_DECIMALS)
        for factor in EDIT_KV_FACTORS
    ],
    "speculation_depth": lambda depths: [
        np.clip(depths + step, SMALLEST_DEPTH, LARGEST_DEPTH) for step in (-1.0, 1.0)
    ],
    "priority_routing": lambda routings: [1.0 - routings],
}


def _with_values(row: FloatArray, column: int, values: Sequence[float]) -> list[FloatArray]:
    """The row with another value in a column, for every value that differs from its own."""
    moved = []
    for value in dict.fromkeys(values):
        if value != row[column]:
            candidate = row.copy()
            candidate[column] = value
            moved.append(candidate)
    return moved
