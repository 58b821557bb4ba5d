"""The engine of a real episode: behind the simulated one's protocol, a server that really serves.

Requests come from the task's own workload and go through a gateway; what is measured is entered
into the same arrays as the simulator's, and measured by the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import EpisodeNotStartedError, NotReplayableError
from llmserve_env.models import TIERS, ServeAction
from llmserve_env.tasks import TaskSpec
from server.real_actuator import Actuator, GatewayActuator, limits_of
from server.real_books import EpisodeBooks
from server.real_calls import Call, DeploymentKey, Patience, ServerView
from server.real_client import Answer, TokenListener
from server.real_clock import EpisodeClock, LagWatch
from server.real_connection import RealConnection
from server.real_gateway import Gateway
from server.real_measure import compile_measure, measure_entered_window
from server.real_prompts import PromptScale, make_prompt
from server.real_report import (
    POOL_TERMS,
    TOLD_TERMS,
    WindowFacts,
    server_report,
    unmeasured_fields,
    unmeasured_terms,
    window_report,
)
from server.real_settings import RealSettings
from simulator.deployment import Deployment, StepCosts, build_deployment
from simulator.engine import SimulatedEngine
from simulator.records import RequestBatch
from simulator.reward import TERMS
from simulator.rng import stream
from simulator.state import CLASSES

SPARE_S = 30.0  # beyond a window's length: what is left of a starved computer's patience

MakeActuator = Callable[[Gateway, RealSettings, TaskSpec], Actuator]


class RealEngine(SimulatedEngine):
    """One real episode at a time, in environment 0 of the simulator's state.

    Attributes:
        report: What the last window's metadata says of the server, the knobs and the client.
        unmeasured_fields: Fields of an observation that nothing here can measure.
        unmeasured_terms: Terms of the reward that rest on such fields.
    """

    def __init__(
        self,
        task: TaskSpec,
        connection: RealConnection,
        *,
        make_actuator: MakeActuator = GatewayActuator,
        pool_tokens: int | None = None,
    ) -> None:
        """Prepare the arrays; `reset` starts an episode on the server.

        Args:
            task: What is played.
            connection: To the server.
            make_actuator: Of what moves its knobs.
            pool_tokens: Tokens that its KV cache holds; None: nobody knows.
        """
        super().__init__(task)
        self.deployment = _real_deployment(task, pool_tokens)
        self._connection, self._make_actuator = connection, make_actuator
        self.unmeasured_fields: tuple[str, ...] = ()
        self.unmeasured_terms: tuple[str, ...] = ()
        self.report: dict[str, Any] = {}
        self._episode: _RealEpisode | None = None

    def reset(self, environment: int, requests: RequestBatch, costs: StepCosts) -> None:
        """Enter the requests of an episode."""
        super().reset(environment, requests, costs)
        compile_measure(self.state, self.deployment)
        self.end()
        self._episode = _RealEpisode(self, requests, self._connection, self._make_actuator)
        self.report = self._describe(is_told=self._episode.actuator.tells_metrics)

    def seed_prompts(self, trace_seed: int) -> None:
        """Draw the words of the episode's prompts from this seed."""
        self._running().prompt_seed = trace_seed

    def in_force(self, action: ServeAction) -> ServeAction:
        """What of an action takes effect on this server; raises as Actuator.in_force does."""
        return self._running().actuator.in_force(action)

    def held(self) -> ServeAction:
        """What the server held in the last window, as far as it is known."""
        return self._running().held

    def step(self, actions: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> None:
        """Play one window in real time; `state.metrics` and `state.rewards` hold it.

        Raises:
            RealServerError: If this computer could not play it in time.
        """
        episode, settings = self._running(), self._connection.settings
        facts = self._connection.run(
            episode.play(_action_of(actions[0]), weights), limit_s=self.task.window_s + SPARE_S
        )
        described = self._describe(is_told=facts.server.span is not None)
        self.report = described | window_report(
            facts, lag_limit_ms=settings.real_client_lag_limit_ms
        )

    def clone(self) -> Self:
        """Nobody can copy a real server.

        Raises:
            NotReplayableError: Always.
        """
        raise NotReplayableError("copy")

    def end(self) -> None:
        """Give up what is in flight and leave the server as it was found; does not wait."""
        if self._episode is not None:
            self._connection.start(self._episode.close())
            self._episode = None

    def _describe(self, *, is_told: bool) -> dict[str, Any]:
        """What can be measured while the server tells its metrics, or does not; kept, too."""
        actuator = self._running().actuator
        # The occupancy is the gateway's own count, or the server's.
        told = {
            "is_told": is_told,
            "knows_pool": is_told if actuator.tells_metrics else actuator.pool_tokens is not None,
        }
        self.unmeasured_fields = unmeasured_fields(**told)
        self.unmeasured_terms = unmeasured_terms(**told)
        return server_report(actuator.knobs, **told)

    def _running(self) -> _RealEpisode:
        if self._episode is None:
            raise EpisodeNotStartedError
        return self._episode


class _RealEpisode:
    """What one episode needs on the connection's event loop."""

    def __init__(
        self,
        engine: RealEngine,
        requests: RequestBatch,
        connection: RealConnection,
        make_actuator: MakeActuator,
    ) -> None:
        self.task, settings = engine.task, connection.settings
        default = self.task.default_action
        self.prompt_seed = 0
        self._engine, self._connection = engine, connection
        self._window: asyncio.Task[Any] | None = None
        self._deployments = settings.deployments(default.quantization_tier)
        self._calls = _calls(requests)
        self._next_call = 0
        self._books, self._clock, self._lag = EpisodeBooks(engine.state), EpisodeClock(), LagWatch()
        patience = Patience(
            queue_timeout_s=self.task.deployment.queue_timeout_s,
            tokens=settings.real_max_tokens_per_episode,
        )
        limits = limits_of(default, settings.real_kv_pool_tokens)
        self.gateway = Gateway(self._send, self._clock, limits, patience)
        self.actuator = make_actuator(self.gateway, settings, self.task)
        self.held = default

    async def play(self, action: ServeAction, weights: npt.NDArray[np.float64]) -> WindowFacts:
        """Play a window under an action that is in force, and measure it."""
        engine, loop = self._engine, asyncio.get_running_loop()
        self._window = asyncio.current_task()
        end_s = (int(engine.state.environments[0]["windows"]) + 1) * self.task.window_s
        busy_before = len(self.gateway.in_flight)
        start_s, paused_s = loop.time(), self._clock.resume(end_s)
        self._lag.start()
        try:
            for call in self._due_before(end_s):
                offset_s = call.arrival_s - (end_s - self.task.window_s)
                loop.call_at(start_s + offset_s, self.gateway.submit, call)
            action = await self.actuator.apply(action)
            await asyncio.sleep(start_s + self.task.window_s - loop.time())
        finally:
            lag_s = self._lag.stop()
            self._clock.stop()
        view = await self.actuator.look_back()
        events, held_s = self.gateway.close_window()
        self._books.close_window(events, held_s, end_s=end_s)
        self._enter(action, view)
        self._measure(self._measured_weights(weights, view))
        return WindowFacts(
            events=events,
            lag_s=lag_s,
            paused_s=paused_s if busy_before else 0.0,
            tokens_in_flight=self.gateway.tokens_in_flight,
            spent_tokens=self.gateway.spent_tokens,
            unusable=self.gateway.unusable,
            server=view,
        )

    def _enter(self, action: ServeAction, view: ServerView) -> None:
        """Enter what is in force, who waits and runs, and what the server told."""
        pool_tokens = self._engine.deployment.pool_blocks(action.quantization_tier)
        self._books.put_in_force(action, self.held, pool_tokens=pool_tokens)
        self.held = action
        self._books.enter_line(self.gateway.waiting, self.gateway.in_flight)
        if view.span is not None:
            self._books.enter_server(view.span, action, pool_tokens=pool_tokens)

    def _measured_weights(
        self, weights: npt.NDArray[np.float64], view: ServerView
    ) -> npt.NDArray[np.float64]:
        """The weights without the terms that a server which fell silent does not tell."""
        if view.span is not None or not self.actuator.tells_metrics:
            return weights
        measured = weights.copy()
        measured[:, [TERMS.index(term) for term in (*TOLD_TERMS, *POOL_TERMS)]] = 0.0
        return measured

    def _measure(self, weights: npt.NDArray[np.float64]) -> None:
        """Measure what was entered, and tell the actuator who was served as promised."""
        engine = self._engine
        measure_entered_window(
            engine.state,
            engine.deployment.fleet,
            engine.deployment.terms,
            engine.deployment.tables,
            weights,
            self.task.window_s,
        )
        measured = engine.state.metrics[0]
        met = sum(int(measured[f"met_{each}"]) for each in range(CLASSES))
        decided = sum(int(measured[f"decided_{each}"]) for each in range(CLASSES))
        self.actuator.judge(met=met, missed=decided - met + int(measured["overdue"]))

    async def close(self) -> None:
        """Cut what is in flight, a window too, and put the server back."""
        if self._window is not None:
            self._window.cancel()
        await self.gateway.close()
        await self.actuator.restore()

    def _due_before(self, end_s: float) -> list[Call]:
        first = self._next_call
        while self._next_call < len(self._calls) and self._calls[self._next_call].arrival_s < end_s:
            self._next_call += 1
        return self._calls[first : self._next_call]

    async def _send(self, key: DeploymentKey, call: Call, on_tokens: TokenListener) -> Answer:
        scale = self._connection.prompt_scale or PromptScale()
        rng = stream(self.prompt_seed, f"real/prompt/{call.index}")
        prompt = make_prompt(scale.words(call.prompt_tokens), rng)
        client = self._connection.client(self._deployments[key])
        return await client.generate(
            prompt, call.output_tokens, on_tokens, priority=call.priority_class
        )


def _calls(requests: RequestBatch) -> list[Call]:
    columns = (
        requests.priority_class,
        requests.prompt_tokens,
        requests.output_tokens,
        requests.arrival_s,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Call(index, *row) for index, row in enumerate(rows)]


def _action_of(row: npt.NDArray[np.float64]) -> ServeAction:
    """The action that engine.action_row turned into this row."""
    return ServeAction(
        batch_cap=int(row[0]),
        kv_budget_fraction=float(row[1]),
        speculation_depth=int(row[2]),
        quantization_tier=TIERS[int(row[3])],
        prefill_decode_split=bool(row[4]),
        priority_routing=bool(row[5]),
    )


def _real_deployment(task: TaskSpec, pool_tokens: int | None) -> Deployment:
    """The task's deployment as the books of a real server want it.

    One replica, whose KV pool is counted in tokens; no time is added to what was measured, because
    the API's share is in it.
    """
    simulated = build_deployment(task)
    fleet, terms = simulated.fleet.copy(), simulated.terms.copy()
    pool = 1 if pool_tokens is None else pool_tokens
    fleet["gpus"], fleet["block_tokens"] = 1, 1
    for tier in TIERS:
        fleet[f"pool_blocks_{tier.lower()}"] = pool
    terms["largest_pool_blocks"], terms["api_s"] = pool, 0.0
    return replace(simulated, fleet=fleet, terms=terms)
