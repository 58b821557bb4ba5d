"""Steps many environments at once and encodes what came of it, on one thread or several.

The compiled engine releases Python's global lock, so plain threads run in parallel, each on its
own share of the environments. Environments do not know each other: the numbers are the same for any
number of threads. Numba's parallel loops give the same numbers too; but they compile the engine a
second time (a minute), and their barriers spin, which makes them slower than one thread on a busy
machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llmserve_env.encoding import (
    FEATURES,
    RAW_NAMES,
    WINDOW_FEATURES,
    FeatureEncoder,
    Features,
    write_trends,
)
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine
from simulator.jit import compiled
from simulator.kernel import step_windows
from simulator.kernel_features import RAW, encode_rows, raw_rows
from simulator.observation import empty_metrics
from simulator.records import FloatArray, RequestBatch
from simulator.state import State

compiled_trends = compiled(write_trends)


@dataclass(slots=True)
class _Share:
    """The environments of one thread; owned by VectorEngine alone."""

    rows: slice
    state: State
    raw: FloatArray
    windows: Features
    encoder: FeatureEncoder


class VectorEngine:
    """SimulatedEngine for many environments that start and end together, with their features."""

    def __init__(self, task: TaskSpec, environments: int, *, threads: int = 1) -> None:
        """Allocate the state; the environments must be reset before they are stepped.

        Args:
            task: What is played.
            environments: How many at once.
            threads: How many threads step them, this one included.

        Raises:
            InvalidInputError: If the task's deployment cannot be built.
        """
        self._engine = SimulatedEngine(task, environments)
        self.deployment = self._engine.deployment
        cuts = np.linspace(0, environments, min(threads, environments) + 1).astype(int).tolist()
        self._rows = [slice(low, high) for low, high in pairwise(cuts)]
        self._pool = ThreadPoolExecutor(len(self._rows) - 1) if len(self._rows) > 1 else None
        self._shares: list[_Share] = []

    @property
    def rewards(self) -> FloatArray:
        """(envs, 10) float64, the terms of the last window's reward in the order of REWARD."""
        rewards = self._engine.state.rewards
        return rewards.view(np.float64).reshape(len(rewards), -1)

    def reset(self, batches: Sequence[RequestBatch], costs: Sequence[StepCosts]) -> Features:
        """Start an episode in every environment and return its features (envs, FEATURES).

        Args:
            batches: The requests of each.
            costs: The step costs of each.
        """
        engine = self._engine
        # The longest first: the request tables of all environments grow once and not many times.
        for index in sorted(range(len(batches)), key=lambda i: -len(batches[i])):
            engine.reset(index, batches[index], costs[index])
        state = engine.state
        state.metrics[:] = empty_metrics(engine.deployment, engine.task.default_action)
        self._shares = [self._share(rows) for rows in self._rows]
        features = np.empty((len(batches), len(FEATURES)), np.float32)
        for share in self._shares:
            _encode(share, features)
        return features

    def step(self, actions: FloatArray, weights: FloatArray) -> Features:
        """Play one window in every environment and return its features (envs, FEATURES).

        Args:
            actions: (envs, 6), see engine.action_row.
            weights: (envs, 9), see reward.weight_row.
        """
        features = np.empty((len(actions), len(FEATURES)), np.float32)

        def play(share: _Share) -> None:
            self._play(share, actions[share.rows], weights[share.rows])
            _encode(share, features)

        running = []
        if self._pool is not None:
            running = [self._pool.submit(play, share) for share in self._shares[1:]]
        play(self._shares[0])
        for future in running:
            future.result()
        return features

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _share(self, rows: slice) -> _Share:
        count = rows.stop - rows.start
        return _Share(
            rows=rows,
            state=State._make(array[rows] for array in self._engine.state),
            raw=np.empty((count, len(RAW_NAMES))),
            windows=np.empty((count, len(WINDOW_FEATURES)), np.float32),
            encoder=FeatureEncoder(count, trends=compiled_trends),
        )

    def _play(self, share: _Share, actions: FloatArray, weights: FloatArray) -> None:
        deployment = self.deployment
        step_windows(
            share.state,
            deployment.fleet,
            deployment.terms,
            deployment.tables,
            actions,
            weights,
            self._engine.task.window_s,
        )


def _encode(share: _Share, features: Features) -> None:
    raw_rows(share.state.environments, share.state.metrics, share.raw.view(RAW)[:, 0])
    encode_rows(share.raw, share.windows)
    share.encoder.extend(share.windows, features[share.rows])
