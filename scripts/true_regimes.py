"""Which regime the traffic is in, window by window: what the simulator drew and tells no agent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import Bursts, PresetStream, Regimes, Stream
from scripts.policy_plays import Course
from simulator.rates import rate_function, regime_path
from simulator.rng import stream

Labels = npt.NDArray[np.int64]

CALM: Final = "calm"
# How long after a burst its requests still run: outputs of some 200 tokens at some 30 ms each.
AFTERMATH_S: Final = 8.0
# What counts as the first seconds of a regime: warm switches take 3 s, averages as long to follow.
FRESH_S: Final = 5.0
START_S: Final = 20.0
LOAD_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A division of all windows of a course's episodes into kinds.

    Attributes:
        title: What the kinds differ in.
        names: Of the kinds.
        labels: (windows, seeds) int64, the index of every window's kind.
    """

    title: str
    names: tuple[str, ...]
    labels: Labels


def cuts(course: Course) -> tuple[Cut, ...]:
    """The ways to divide the windows of these episodes, the one that tells most first.

    Hidden regimes if the task has such, else the phases of its bursts, else its load level; then
    the seconds since the last switch of regime, and since the start of the episode.
    """
    task, seeds = course.task, course.seeds
    found: list[Cut] = []
    if task.workload.regimes is not None:
        found += _tenants(task, task.workload.regimes, seeds)
    bursty = [s for s in task.workload.streams if _bursts_of(s) is not None]
    found += [_phases(task, given, seeds) for given in bursty]
    if not found:
        found.append(_load_levels(course))
    return (*found, _start(task, len(seeds)))


def spans(labels: Labels) -> list[tuple[int, int, int]]:
    """Runs of equal labels of one episode: first window, the one behind the last, label."""
    changes = np.flatnonzero(np.diff(labels)) + 1
    edges = [0, *changes.tolist(), len(labels)]
    return [(first, behind, int(labels[first])) for first, behind in pairwise(edges)]


def regime_names(regimes: Regimes, streams: Sequence[str]) -> tuple[str, ...]:
    """Every regime called after the stream that stands out most in it; calm where none does.

    A stream stands out by its rate over the median of its rates in all regimes.
    """
    rates = np.array(regimes.rate_multipliers)
    excess = rates / np.maximum(np.median(rates, axis=0), np.finfo(float).tiny)
    return tuple(streams[int(row.argmax())] if row.max() > 1.0 else CALM for row in excess)


def _tenants(task: TaskSpec, regimes: Regimes, seeds: Sequence[int]) -> list[Cut]:
    horizon_s, middles_s = task.windows * task.window_s, _middles_s(task)
    states, fresh = [], []
    for seed in seeds:
        edges_s, path = regime_path(regimes, horizon_s=horizon_s, rng=stream(seed, "regime"))
        segment = np.searchsorted(edges_s, middles_s, side="right") - 1
        states.append(path[segment])
        # The first regime began before the episode did.
        fresh.append((segment > 0) & (middles_s - edges_s[segment] < FRESH_S))
    names = regime_names(regimes, [given.name for given in task.workload.streams])
    later = ~np.stack(fresh, axis=1)
    return [
        Cut("which tenant dominates", names, np.stack(states, axis=1)),
        Cut("time since the last switch", _first_and_later(FRESH_S), later.astype(np.int64)),
    ]


def _phases(task: TaskSpec, given: Stream | PresetStream, seeds: Sequence[int]) -> Cut:
    names = (CALM, "burst begins", "burst goes on", f"{AFTERMATH_S:g} s after a burst")
    labels = [_phase_of_windows(task, given, seed) for seed in seeds]
    return Cut("phase of a burst", names, np.stack(labels, axis=1))


def _phase_of_windows(task: TaskSpec, given: Stream | PresetStream, seed: int) -> Labels:
    arrivals = _bursts_of(given)
    if arrivals is None:
        raise ValueError(f"stream {given.name!r} has no bursts")
    chance = stream(seed, f"modulation/{given.name}")
    rate = rate_function(arrivals, horizon_s=task.windows * task.window_s, rng=chance)
    labels: Labels = np.zeros(task.windows, np.int64)
    starts_s = task.window_s * np.arange(task.windows)
    for start_s, end_s, value in zip(rate.edges_s, rate.edges_s[1:], rate.values, strict=False):
        if value <= arrivals.rate_rps:
            continue
        during = (starts_s < end_s) & (starts_s + task.window_s > start_s)
        behind = (starts_s >= end_s) & (starts_s < end_s + AFTERMATH_S)
        labels[behind] = 3
        labels[during] = 2
        if start_s > 0.0:
            labels[np.flatnonzero(during)[0]] = 1
    return labels


def _bursts_of(given: Stream | PresetStream) -> Bursts | None:
    arrivals = given.arrivals if isinstance(given, Stream) else None
    return arrivals if isinstance(arrivals, Bursts) else None


def _load_levels(course: Course) -> Cut:
    workload = course.task.workload
    edges = np.linspace(workload.load_low, workload.load_high, LOAD_PARTS + 1)
    part = np.clip(np.searchsorted(edges, course.load_levels, side="right") - 1, 0, LOAD_PARTS - 1)
    names = tuple(f"load level {low:.2f} to {high:.2f}" for low, high in pairwise(edges))
    return Cut("load level of the episode", names, np.tile(part, (course.task.windows, 1)))


def _start(task: TaskSpec, seeds: int) -> Cut:
    later = (_middles_s(task) >= START_S).astype(np.int64)
    labels = np.tile(later[:, None], (1, seeds))
    return Cut("time since the start", _first_and_later(START_S), labels)


def _first_and_later(seconds: float) -> tuple[str, str]:
    return f"first {seconds:g} s", "later"


def _middles_s(task: TaskSpec) -> npt.NDArray[np.float64]:
    return np.asarray(task.window_s * (np.arange(task.windows) + 0.5))
