"""The engine's public face: one deployment under generated or recorded traffic."""

from __future__ import annotations

from typing import Self

import numpy as np

from llmserve_env.errors import (
    EpisodeNotStartedError,
    InvalidInputError,
    TierNotOfferedError,
)
from llmserve_env.models import MetricsSnapshot, QuantizationTier, ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from simulator.deployment import draw_step_costs
from simulator.engine import SimulatedEngine, action_row
from simulator.metrics import snapshot
from simulator.records import FloatArray, RequestBatch, RequestResults, WindowLog
from simulator.reward import weight_row
from simulator.state import (
    DECIDED_ORDER,
    FIRST_ORDER,
    MAX_REPLICAS,
    STEP_SAMPLES,
    TOKEN,
    WINDOW,
)
from simulator.workload import task_requests


class TraceSimulator:
    """Continuous batching simulated per request and iteration.

    >>> simulator = TraceSimulator()
    >>> simulator.reset("static_workload", seed=42)
    >>> log = simulator.simulate(simulator.task.default_action)
    >>> log.output_tokens > 0
    True
    """

    def __init__(self) -> None:
        """No episode yet; reset starts one."""
        self._engine: SimulatedEngine | None = None
        self._requests: RequestBatch | None = None
        self._weights: FloatArray = np.zeros((1, 0))
        self._tiers: tuple[QuantizationTier, ...] = ()

    def reset(self, task: TaskSpec | str, seed: int, *, trace_seed: int | None = None) -> None:
        """Start an episode of a task, or of the shipped task of this name.

        Args:
            task: A task or the id of a shipped one.
            seed: Seed of everything but the traffic: the episode's step costs.
            trace_seed: Seed of the traffic; `seed` if left out.

        Raises:
            UnknownTaskError: If no shipped task has this id.
            InvalidInputError: If the task's deployment or traffic cannot be built.
        """
        spec = shipped_catalogue().get(task) if isinstance(task, str) else task
        requests = task_requests(spec, seed if trace_seed is None else trace_seed)
        self.load(spec, requests, seed)

    def load(self, task: TaskSpec, requests: RequestBatch, seed: int) -> None:
        """Start an episode of a task under given requests instead of the task's own traffic."""
        if self._engine is None or self._engine.task != task:
            self._engine = self._make_engine(task)
            self._tiers = self._engine.deployment.tiers
        self._engine.reset(0, requests, draw_step_costs(task.deployment, seed))
        self._requests = requests
        self._weights = weight_row(task.reward)[None, :]

    @property
    def engine(self) -> SimulatedEngine:
        """The engine with the arrays of the episode.

        Raises:
            EpisodeNotStartedError: Before the first reset.
        """
        if self._engine is None:
            raise EpisodeNotStartedError
        return self._engine

    @property
    def task(self) -> TaskSpec:
        """The task of the episode."""
        return self.engine.task

    @property
    def requests(self) -> RequestBatch:
        """All requests of the episode, those yet to come included."""
        if self._requests is None:
            raise EpisodeNotStartedError
        return self._requests

    def set_reward_weights(self, weights: FloatArray) -> None:
        """Use these weights (9,) of the reward's terms instead of the task's."""
        self._weights = weights[None, :]

    def advance(self, action: ServeAction) -> None:
        """Play one window; metrics and rewards are in the engine's state.

        Raises:
            TierNotOfferedError: If the profile has no times for the tier or it does not fit.
            InvalidInputError: If the split is asked of a deployment with one GPU.
        """
        engine = self.engine
        if action.prefill_decode_split and engine.task.deployment.gpus < MAX_REPLICAS:
            raise InvalidInputError(
                "prefill_decode_split true needs a deployment with 2 gpus, got 1"
            )
        if action.quantization_tier not in self._tiers:
            profile = engine.deployment.profile.name
            raise TierNotOfferedError(profile, action.quantization_tier, self._tiers)
        engine.step(action_row(action)[None, :], self._weights)

    def simulate(self, action: ServeAction) -> WindowLog:
        """Play one window and return what the engine did in it."""
        self.advance(action)
        return self._window_log()

    def metrics(self) -> MetricsSnapshot:
        """What the last window amounts to."""
        return MetricsSnapshot(**snapshot(self.engine.state.metrics[0]))

    def results(self) -> RequestResults:
        """What happened to every request so far."""
        table = self.engine.state.requests[0, : len(self.requests)]
        return RequestResults(
            arrival_s=table["arrival_s"].copy(),
            admitted_s=table["admitted_s"].copy(),
            first_token_s=table["first_token_s"].copy(),
            finish_s=table["finish_s"].copy(),
            generated_tokens=table["generated"] / TOKEN,
            preemptions=table["preemptions"].astype(np.int64),
            priority_class=table["priority_class"].astype(np.int64),
            status=table["status"].astype(np.int64),
        )

    def clone(self) -> Self:
        """An independent copy that can be stepped ahead without touching this one."""
        twin = object.__new__(type(self))
        twin._engine = None if self._engine is None else self._engine.clone()
        twin._requests, twin._weights, twin._tiers = self._requests, self._weights, self._tiers
        return twin

    def _make_engine(self, task: TaskSpec) -> SimulatedEngine:
        return SimulatedEngine(task)

    def _window_log(self) -> WindowLog:
        state = self.engine.state
        env, orders = state.environments[0], state.orders[0]
        window = dict(zip(WINDOW.names or (), state.windows[0].tolist(), strict=True))
        samples = np.sort(state.samples[0, STEP_SAMPLES, : env["step_samples"]], order="value_s")
        return WindowLog(
            start_s=float(env["now_s"]) - self.task.window_s,
            end_s=float(env["now_s"]),
            arrived=np.arange(env["window_arrival"], env["next_arrival"], dtype=np.int64),
            first_tokens=orders[FIRST_ORDER, env["window_first"] : env["first_tokens"]].copy(),
            decided=orders[DECIDED_ORDER, env["window_decided"] : env["decided"]].copy(),
            itl_s=samples["value_s"],
            itl_tokens=samples["weight"] / TOKEN,
            output_tokens=window["output"] / TOKEN,
            prefill_tokens=window["prefill_tokens"],
            preemptions=window["preemptions"],
            drafts_proposed=window["proposed"] / TOKEN,
            drafts_accepted=window["accepted"] / TOKEN,
            iterations=window["iterations"],
            busy_s=window["busy_s"],
            queue_hold_s=window["queue_hold_s"],
            kv_hold_s=window["kv_hold_s"],
            compute_hold_s=window["compute_hold_s"],
            switching_s=window["switching_s"],
        )
