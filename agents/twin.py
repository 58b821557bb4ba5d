"""A belief about the deployment, kept from observations alone: a second engine fed with likenesses.

An observation says how many requests arrived, of which classes, and how long their prompts were on
average; not when, and never how long their outputs will be. For every window that was seen the twin
draws requests from the task's own description of its traffic, of those classes and nearest to that
mean prompt, and serves them under the action that was in force. Forecasts are drawn from the
requests of the last windows, as many as a stretch of the past brought, or at a rate that falls back
from a fast to a slow average of what arrived.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import Final

import numpy as np

from agents.planning import FloatArray
from llmserve_env.models import CLASS_COUNT, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row, enter_requests
from simulator.records import IntArray, RequestBatch
from simulator.reward import weight_row
from simulator.rng import stream
from simulator.state import State, allocate, copy_state
from simulator.workload import generate

# The episode whose traffic stands for the task's; no split holds this seed.
LIBRARY_SEED: Final = 2**62
LIBRARY_EPISODES: Final = 8
# Draws of a window's requests, of which the one with the nearest mean prompt is kept.
DRAWS: Final = 16
MEMORY_WINDOWS: Final = 8
FAST_SHARE: Final = 0.5
SLOW_SHARE: Final = 0.05
RETURN_WINDOWS: Final = 8.0  # within which a forecast falls back to the slow average
# Room beyond twice an average episode; what comes on top is not followed.
SPARE_REQUESTS: Final = 2_000


class Twin:
    """An engine in the state that the real one is believed to be in."""

    def __init__(self, task: TaskSpec, seed: int, index: int = 0) -> None:
        """An idle engine at the start of an episode, with nominal step costs.

        Args:
            task: What is played.
            seed: Of the guesses.
            index: Tells twins of the same seed apart; those of odd index expect a stretch of the
                past to come again, the others that the rate falls back to its slow average.
        """
        self._task, self._rng = task, stream(seed, f"agents/twin/{index}")
        self._library = _library(task)
        by_class = self._library.priority_class
        self._of_class = [np.flatnonzero(by_class == index) for index in range(CLASS_COUNT)]
        everything = np.arange(len(self._library))
        self._of_class = [rows if len(rows) else everything for rows in self._of_class]
        self._engine = SimulatedEngine(task)
        self._engine.state = allocate(1, 2 * len(everything) // LIBRARY_EPISODES + SPARE_REQUESTS)
        nobody = _chosen(self._library, everything[:0], np.zeros(0))
        self._engine.reset(0, nobody, StepCosts())
        self._weights = weight_row(task.reward)[None, :]
        self._recent: list[IntArray] = []
        self._counts: list[int] = []
        self._repeats = index % 2 == 1
        self._fast = self._slow = -1.0

    @property
    def capacity(self) -> int:
        """Requests that the engine's table has room for."""
        return int(self._engine.state.requests.shape[1])

    @property
    def requests(self) -> int:
        """Requests that have arrived so far."""
        return int(self._engine.state.environments[0]["requests"])

    @property
    def kv_used_fraction(self) -> float:
        """The share of the KV pool that is believed to be in use."""
        return float(self._engine.state.metrics[0]["kv_used_fraction"])

    def follow(self, observation: ServeObservation, action: ServeAction) -> None:
        """Serve what arrived in the window just seen, under the action that was in force."""
        rows = self._likeness(observation)
        now_s = float(self._engine.state.environments[0]["now_s"])
        offsets = np.sort(self._rng.random(len(rows))) * self._task.window_s
        self._append(self._engine.state, rows, now_s + offsets)
        self._engine.step(action_row(action)[None, :], self._weights)
        self._recent = [*self._recent, rows][-MEMORY_WINDOWS:]
        self._counts.append(len(rows))
        self._fast = _average(self._fast, len(rows), FAST_SHARE)
        self._slow = _average(self._slow, len(rows), SLOW_SHARE)

    def forecast(self, windows: int) -> State:
        """A copy of the state with the arrivals of the next windows as they may turn out."""
        state = copy_state(self._engine.state)
        now_s, window_s = float(state.environments[0]["now_s"]), self._task.window_s
        ahead = np.arange(windows)
        counts = self._again(windows) if self._repeats else self._fading(windows)
        recent = np.concatenate(self._recent)
        if len(recent) == 0:
            return state
        rows = self._rng.choice(recent, counts.sum())
        starts_s = now_s + np.repeat(ahead, counts) * window_s
        self._append(state, rows, np.sort(starts_s + self._rng.random(len(rows)) * window_s))
        return state

    def _fading(self, windows: int) -> IntArray:
        """Poisson counts of arrivals whose rate falls back from the fast to the slow average."""
        fading = np.exp(-np.arange(windows) / RETURN_WINDOWS)
        return self._rng.poisson(self._slow + (self._fast - self._slow) * fading)

    def _again(self, windows: int) -> IntArray:
        """The counts of as many successive windows of the past, bursts included."""
        if len(self._counts) <= windows:
            return self._fading(windows)
        first = int(self._rng.integers(len(self._counts) - windows))
        return np.array(self._counts[first : first + windows])

    def _likeness(self, observation: ServeObservation) -> IntArray:
        """Rows of the library that could be the requests of the window just seen."""
        count, shares = observation.arrived_requests, observation.priority_distribution
        if count == 0 or shares is None:
            return np.zeros(0, np.int64)
        of_classes = [round(share * count) for share in shares]
        draws = [
            np.concatenate(
                [
                    self._rng.choice(rows, number)
                    for rows, number in zip(self._of_class, of_classes, strict=True)
                ]
            )
            for _ in range(DRAWS)
        ]
        prompts = self._library.prompt_tokens
        wanted = observation.mean_prompt_length or 0.0
        distances = [abs(float(prompts[rows].mean()) - wanted) for rows in draws]
        return self._rng.permutation(draws[int(np.argmin(distances))])

    def _append(self, state: State, rows: IntArray, arrival_s: FloatArray) -> None:
        first = int(state.environments[0]["requests"])
        rows = rows[: self.capacity - first]
        requests = _chosen(self._library, rows, arrival_s[: len(rows)])
        enter_requests(state.requests[0, first : first + len(rows)], requests)
        state.environments[0]["requests"] = first + len(rows)


def _average(known: float, new: float, share: float) -> float:
    return new if known < 0.0 else known + share * (new - known)


@cache
def _library(task: TaskSpec) -> RequestBatch:
    """Requests as the task describes them, of several episodes one after the other."""
    horizon_s = task.windows * task.window_s * LIBRARY_EPISODES
    return generate(task.workload, horizon_s=horizon_s, trace_seed=LIBRARY_SEED)


def _chosen(batch: RequestBatch, rows: IntArray, arrival_s: FloatArray) -> RequestBatch:
    """Some rows of a batch, arriving at other times."""
    columns = {
        field.name: getattr(batch, field.name)[rows]
        for field in fields(batch)
        if field.name not in ("load_level", "arrival_s")
    }
    return replace(batch, arrival_s=arrival_s, **columns)
