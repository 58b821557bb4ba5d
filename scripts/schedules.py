"""What search_schedules.py searches: schedules as vectors, their value, and CMA-ES around them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.batch import Batch
from llmserve_env.action_encoding import ActionDecoder, to_box
from llmserve_env.models import KNOBS, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.engine import action_row

SEGMENT_WINDOWS: Final = 8
POPULATION: Final = 32
BOUND: Final = 1.0
# Less than this moves nothing: else every step of the search would move every knob in every
# segment, and pay for it in stability, whatever it gains.
DEAD_ZONE: Final = 0.1

Vector = npt.NDArray[np.float64]
Values = Callable[[Sequence[Vector]], Vector]


class ScheduleSpace:
    """Vectors in [-1, 1] -> schedules: what is added, segment by segment, to a base schedule.

    Knobs are moved in the box of action_encoding.py, the active ones only. The vector of zeros is
    the base itself, window by window, up to the box's rounding.
    """

    def __init__(self, task: TaskSpec, base: Sequence[ServeAction]) -> None:
        """Take the task's active knobs and one action per window."""
        self.task = task
        self._decoder = ActionDecoder(task)
        self._active = [at for at, knob in enumerate(KNOBS) if knob in task.active_actions]
        self._base = np.array([to_box(action) for action in base], np.float64)
        self._segments = -(-task.windows // SEGMENT_WINDOWS)

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return self._segments * len(self._active)

    def actions(self, vector: Vector) -> list[ServeAction]:
        """One action per window."""
        beyond = np.sign(vector) * np.maximum(np.abs(vector) - DEAD_ZONE, 0.0)
        added = np.repeat(beyond.reshape(self._segments, -1), SEGMENT_WINDOWS, axis=0)
        boxes = self._base.copy()
        boxes[:, self._active] += added[: len(boxes)]
        return [self._decoder.from_box(box) for box in np.clip(boxes, -BOUND, BOUND)]


class ScheduleAgent:
    """Plays a schedule, whatever it sees."""

    def __init__(self, actions: Sequence[ServeAction]) -> None:
        """Take one action per window."""
        self._actions = actions

    def reset(self, task: TaskSpec, seed: int) -> None:
        """Nothing to forget: the observation's step index says where the schedule stands."""

    def act(self, observation: ServeObservation) -> ServeAction:
        """The action of this window."""
        return self._actions[observation.step_index]


@dataclass(frozen=True, slots=True)
class Result:
    """The best vector of a search, its value, and the value of where the search began."""

    vector: Vector
    value: float
    start_value: float


def schedule_values(space: ScheduleSpace, seed: int) -> Values:
    """A function of up to POPULATION vectors: the raw score of each schedule on this seed."""
    batch = Batch(space.task, [seed] * POPULATION)

    def values(vectors: Sequence[Vector]) -> Vector:
        rows = [[action_row(action) for action in space.actions(vector)] for vector in vectors]
        schedules = np.array(rows).swapaxes(0, 1)
        return np.asarray(batch.play(schedules, last=len(vectors)).mean(axis=1))

    return values


def maximise(values: Values, start: Vector, *, step: float, evaluations: int, seed: int) -> Result:
    """The best vector in [-1, 1] that CMA-ES finds; never worse than the start.

    Args:
        values: (vectors,) of a list of vectors: what is to be as large as possible.
        start: Where the search begins.
        step: First standard deviation.
        evaluations: Vectors that may be valued.
        seed: Of the search's own random numbers.

    Source: Hansen 2016, arXiv:1604.00772, as the package cma implements it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses matplotlib, which nobody asks to plot
        import cma
    options = {"bounds": [-BOUND, BOUND], "popsize": POPULATION, "seed": seed + 1, "verbose": -9}
    search = cma.CMAEvolutionStrategy(start, step, options)
    start_value = float(values([start])[0])
    best, best_value = start, start_value
    for _ in range(evaluations // POPULATION):
        vectors = search.ask()
        found = values(vectors)
        search.tell(vectors, (-found).tolist())
        if found.max() > best_value:
            best, best_value = np.array(vectors[int(found.argmax())]), float(found.max())
    return Result(vector=best, value=best_value, start_value=start_value)
