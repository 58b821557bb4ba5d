"""Plays constants and policies on stretches of traffic, and counts block by block."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from agents.recommend.tallies import BINS, SUMS, Blocks, bins_of, pooled
from agents.recommend.traffic import BLOCK_S, LEAD_S, WINDOW_S, WINDOWS, Stretch
from llmserve_env.encoding import FEATURES, RAW_NAMES, WINDOW_FEATURES, FeatureEncoder, Features
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import StepCosts
from simulator.engine import SimulatedEngine, action_row
from simulator.kernel_features import RAW, encode_rows, raw_rows
from simulator.metrics import snapshot
from simulator.observation import empty_metrics, observe
from simulator.reward import weight_row
from simulator.state import (
    FINISHED,
    REJECTED,
    STEP_SAMPLES,
    TOKEN,
    Records,
    State,
    copy_state,
)
from simulator.vector_engine import compiled_trends

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Episodes stepped by one call: few enough that their state stays in the processor's cache.
GROUP: Final = 16
LEAD_WINDOWS: Final = int(LEAD_S / WINDOW_S)
BLOCK_WINDOWS: Final = int(BLOCK_S / WINDOW_S)
CONFIG: Final = (
    "batch_cap",
    "kv_budget_fraction",
    "speculation_depth",
    "tier",
    "split",
    "priority",
)


class Scene:
    """What a policy sees of several episodes at once before a window."""

    def __init__(self, task: TaskSpec, state: State) -> None:
        """Nothing is seen yet."""
        count = len(state.environments)
        self.task, self.state = task, state
        self._raw = np.empty((count, len(RAW_NAMES)))
        self._windows = np.empty((count, len(WINDOW_FEATURES)), np.float32)
        self._encoder = FeatureEncoder(count, trends=compiled_trends)

    def features(self) -> Features:
        """(episodes, FEATURES) as encoding.py encodes observations; to be asked every window."""
        raw_rows(self.state.environments, self.state.metrics, self._raw.view(RAW)[:, 0])
        encode_rows(self._raw, self._windows)
        features = np.empty((len(self._raw), len(FEATURES)), np.float32)
        self._encoder.extend(self._windows, features)
        return features

    def observation(self, index: int, window: int, config: ServeAction) -> ServeObservation:
        """What an agent sees of one episode."""
        return observe(
            snapshot(self.state.metrics[index]),
            task_id=self.task.task_id,
            step_index=window,
            config=config,
            reward=None,
            done=False,
            metadata={},
        )


class Driver(Protocol):
    """Acts in several episodes at once."""

    def start(self, task: TaskSpec, episodes: int) -> None:
        """Forget everything and get ready for so many episodes."""

    def rows(self, scene: Scene, window: int) -> FloatArray:
        """(episodes, 6) in the form of engine.action_row."""


class Stage:
    """A task and stretches of traffic, to be played again and again."""

    def __init__(
        self,
        task: TaskSpec,
        pieces: Sequence[Stretch],
        *,
        costs: StepCosts | None = None,
        threads: int = 2,
    ) -> None:
        """Put the requests of every stretch before an idle engine.

        Args:
            task: What is played; its default action is in force at the start.
            pieces: At least one.
            costs: Factors on the measured times; none if left out.
            threads: How many play constants.
        """
        self.task, self.pieces = task, list(pieces)
        self._threads = threads
        engine = SimulatedEngine(task, len(self.pieces))
        for index, piece in sorted(enumerate(self.pieces), key=lambda e: -len(e[1].requests)):
            engine.reset(index, piece.requests, costs or StepCosts())
        engine.state.metrics[:] = empty_metrics(engine.deployment, task.default_action)
        self._start = engine.state

    @property
    def blocks(self) -> int:
        """How many blocks count, over all stretches."""
        return sum(piece.blocks for piece in self.pieces)

    def constants(self, actions: Sequence[ServeAction]) -> list[Blocks]:
        """What each action, held throughout and in force from the start, amounts to."""
        held = np.array([action_row(action) for action in actions])
        pieces = len(self.pieces)
        pairs = np.arange(len(actions) * pieces)
        groups = [pairs[first : first + GROUP] for first in range(0, len(pairs), GROUP)]

        def play(group: IntArray) -> list[Blocks]:
            rows = np.ascontiguousarray(held[group // pieces])
            return self._play(group % pieces, _Held(rows), start=rows)

        with ThreadPoolExecutor(self._threads) as pool:
            found = [blocks for part in pool.map(play, groups) for blocks in part]
        return [pooled(found[first : first + pieces]) for first in range(0, len(found), pieces)]

    def policy(self, driver: Driver) -> Blocks:
        """What a policy amounts to; it starts at the task's default action."""
        return pooled(self._play(np.arange(len(self.pieces)), driver))

    def policies(self, drivers: Sequence[Driver]) -> list[Blocks]:
        """What each of several policies amounts to, played on all threads."""
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(self.policy, drivers))

    def _play(
        self, which: IntArray, driver: Driver, start: FloatArray | None = None
    ) -> list[Blocks]:
        engine = SimulatedEngine(self.task)
        engine.state = State._make(array[which] for array in copy_state(self._start))
        if start is not None:
            for column, name in enumerate(CONFIG):
                engine.state.environments[name] = start[:, column]
        counter = _Counter(engine, [self.pieces[index] for index in which.tolist()])
        weights = np.tile(weight_row(self.task.reward), (len(which), 1))
        scene = Scene(self.task, engine.state)
        driver.start(self.task, len(which))
        for window in range(WINDOWS):
            engine.step(driver.rows(scene, window), weights)
            counter.add(window)
        return counter.blocks()


class _Held:
    """Does the same in every window."""

    def __init__(self, rows: FloatArray) -> None:
        self._rows = rows

    def start(self, task: TaskSpec, episodes: int) -> None:
        """Nothing to do."""

    def rows(self, scene: Scene, window: int) -> FloatArray:  # noqa: ARG002
        """The rows."""
        return self._rows


class _Counter:
    """Counts the windows and requests of episodes into blocks."""

    def __init__(self, engine: SimulatedEngine, pieces: Sequence[Stretch]) -> None:
        self._engine, self._pieces = engine, pieces
        most = max(piece.blocks for piece in pieces)
        self._itl = np.zeros((len(pieces), most, BINS))
        self._sums = {name: np.zeros((len(pieces), most)) for name in SUMS}
        terms, task = engine.deployment.terms[0], engine.task
        self._ttft_slo_s, self._itl_slo_s = terms["ttft_slo_s_0"], terms["itl_slo_s_0"]
        self._gpu_usd = task.deployment.gpus * terms["usd_per_gpu_s"] * WINDOW_S
        self._tokens_before = np.zeros(len(pieces))

    def add(self, window: int) -> None:
        """Count a window that was just played."""
        block = (window - LEAD_WINDOWS) // BLOCK_WINDOWS
        if not 0 <= block < self._itl.shape[1]:
            return
        metrics = self._engine.state.metrics
        sums = {name: column[:, block] for name, column in self._sums.items()}
        sums["windows"] += 1.0
        sums["tokens"] += metrics["output_tps"] * WINDOW_S
        sums["cost_usd"] += metrics["cost_usd"]
        sums["gpu_usd"] += self._gpu_usd
        sums["busy"] += metrics["busy_fraction"]
        sums["reserved"] += metrics["reserved_fraction"]
        sums["quality"] += metrics["quality"]
        sums["preemptions"] += metrics["preemptions"]
        sums["moved_knobs"] += self._engine.state.environments["moved_knobs"]
        late = (metrics["ttft_p99_s"] > self._ttft_slo_s) | (metrics["overdue"] > 0)
        sums["violating_windows"] += late | (metrics["itl_p99_s"] > self._itl_slo_s)
        self._add_gaps(block)

    def blocks(self) -> list[Blocks]:
        """What was counted, by episode, once all windows are played."""
        ttft = np.zeros_like(self._itl)
        for index, piece in enumerate(self._pieces):
            self._add_requests(index, ttft[index], piece)
        sums = np.stack([self._sums[name] for name in SUMS], axis=2)
        return [
            Blocks(ttft[i, : piece.blocks], self._itl[i, : piece.blocks], sums[i, : piece.blocks])
            for i, piece in enumerate(self._pieces)
        ]

    def _add_gaps(self, block: int) -> None:
        state = self._engine.state
        counts = state.environments["step_samples"]
        samples = state.samples[:, STEP_SAMPLES, : max(int(counts.max()), 1)]
        held = np.arange(samples.shape[1]) < counts[:, None]
        episode = np.nonzero(held)[0]
        places = episode * BINS + bins_of(samples["value_s"][held])
        weights = samples["weight"][held] / TOKEN
        size = len(counts) * BINS
        self._itl[:, block] += np.bincount(places, weights, size).reshape(-1, BINS)

    def _add_requests(self, index: int, ttft: FloatArray, piece: Stretch) -> None:
        table = self._engine.state.requests[index, : len(piece.requests)]
        block = ((table["arrival_s"] - LEAD_S) // BLOCK_S).astype(np.int64)
        counts_here = (table["arrival_s"] >= LEAD_S) & (block < piece.blocks)
        rejected = table["status"] == REJECTED
        served = counts_here & ~rejected
        api_s = self._engine.deployment.terms[0]["api_s"]
        waited_s = table["first_token_s"] - table["arrival_s"] + api_s
        places = block[served] * BINS + bins_of(waited_s[served])
        ttft += np.bincount(places, minlength=ttft.size)[: ttft.size].reshape(ttft.shape)
        met = served & self._has_met(table, waited_s)
        self._count(index, "requests", block[counts_here])
        self._count(index, "rejected", block[counts_here & rejected])
        self._count(index, "met_requests", block[met])
        self._count(index, "met_tokens", block[met], table["output_tokens"][met])

    def _has_met(self, table: Records, waited_s: FloatArray) -> npt.NDArray[np.bool_]:
        """Who met both objectives; who is not done when the tail ends met what can be told."""
        gaps = np.maximum(table["output_tokens"] - 1, 1)
        gap_s = (table["finish_s"] - table["first_token_s"]) / gaps
        quick = ~((table["status"] == FINISHED) & (gap_s > self._itl_slo_s))
        return np.asarray((waited_s <= self._ttft_slo_s) & quick)

    def _count(
        self, index: int, name: str, block: IntArray, weights: npt.ArrayLike | None = None
    ) -> None:
        column = self._sums[name][index]
        column += np.bincount(block, weights, len(column))[: len(column)]
