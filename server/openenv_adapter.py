"""Puts the environment behind OpenEnv's Environment interface, one object per WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastmcp import Client, FastMCP
from fastmcp.client.transports import FastMCPTransport
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from pydantic import ConfigDict

from agents.tool_play import ToolPlay
from llmserve_env.errors import LLMServeError
from llmserve_env.models import (
    KNOBS,
    EpisodeLog,
    RealObservation,
    RealState,
    ServeAction,
    ServeObservation,
    ServeState,
)
from llmserve_env.tasks import shipped_catalogue
from server.graded import GradedEnvironment
from server.jobs import Turns
from server.mcp_seats import OneSeat, Seat
from server.mcp_tools import serving_mcp
from server.playground import drawn, quick_settings
from server.rubrics import EpisodeRubric
from server.split_tasks import SplitTasks
from simulator.observation import built

ENVIRONMENT_NAME = "llmserve_env"
DESCRIPTION = (
    "A closed-loop LLM serving deployment to control: six knobs (batch cap, KV budget, speculation "
    "depth, quantization tier, prefill/decode split, priority routing) are set once a second while "
    "requests arrive, queue, are batched on measured GPU times, and finish or miss their SLO."
)


def _start_forms_with(schema: dict[str, Any]) -> None:
    """Have forms made of the schema start with a setting that is taken; every knob is required."""
    for knob, value in shipped_catalogue().tasks[0].default_action.model_dump().items():
        schema["properties"][knob]["default"] = value


class WireAction(ServeAction, Action):
    """ServeAction as OpenEnv's server wants it: with its base class and free `metadata`."""

    model_config = ConfigDict(json_schema_extra=_start_forms_with)

    def knobs(self) -> ServeAction:
        """The action itself, without the metadata."""
        sent = vars(self)
        return built(ServeAction, {knob: sent[knob] for knob in KNOBS})


class WireObservation(ServeObservation, Observation):
    """ServeObservation as OpenEnv's server wants it."""


class WireState(ServeState, State):
    """ServeState as OpenEnv's server wants it."""


class WireRealObservation(RealObservation, WireObservation):
    """RealObservation as OpenEnv's server wants it."""


class WireRealState(RealState, WireState):
    """RealState as OpenEnv's server wants it."""


def wire_observation(observation: ServeObservation) -> WireObservation:
    """The observation with OpenEnv's base class, that of a real server as what it is."""
    is_real = isinstance(observation, RealObservation)
    wire = WireRealObservation if is_real else WireObservation
    return built(wire, dict(vars(observation)))


@dataclass(slots=True)
class Exchange:
    """What the environment behind one socket raised or observed last, until it is answered.

    Attributes:
        error: Of ours.
        observation: Of the window that was played, or of the start.
        serving: That environment, once it has played a window.
    """

    error: LLMServeError | None = None
    observation: ServeObservation | None = None
    serving: OpenEnvServing | None = None


# OpenEnv's /ws answers every exception with the same code; through this the socket guard, which
# runs in the same task, learns which of our errors it was.
exchange_of_socket: ContextVar[Exchange | None] = ContextVar("exchange_of_socket", default=None)


class OpenEnvServing(SplitTasks, Environment[WireAction, WireObservation, WireState]):
    """An environment behind the interface that OpenEnv's server calls, with rubric and tasks."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(
        self,
        make_environment: Callable[[], GradedEnvironment] = GradedEnvironment,
        turns: Turns | None = None,
    ) -> None:
        """No episode runs yet.

        Args:
            make_environment: Makes what is played in.
            turns: For which grades over MCP wait; its own if left out.
        """
        self._environment, self._turns = make_environment(), turns
        # MCP tools play the same episode; whatever is played without them is recorded for them.
        self._seat = Seat(self._environment, ToolPlay(self._environment))
        super().__init__(rubric=EpisodeRubric(self._score))

    @cached_property
    def mcp_server(self) -> FastMCP[Any]:
        """The tools of this environment, made when OpenEnv first asks for them."""
        return serving_mcp(
            OneSeat(self._seat), is_real=self._environment.takes_time, turns=self._turns
        )

    @cached_property
    def mcp_client(self) -> Client[FastMCPTransport]:
        """The client through which OpenEnv's /mcp calls them."""
        return Client(self.mcp_server)

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **fields: Any
    ) -> WireObservation:
        """Start an episode; `fields` are the other fields of StartOptions."""
        log = fields.pop("episode_log", None)
        if log is None:
            observation = self._seat.play.start(seed=seed, episode_id=episode_id, **fields)
        else:
            observation = self._environment.resume(
                EpisodeLog.model_validate(log), episode_id, self._seat.play.record
            )
        self._reset_rubric()
        _note(observation)
        return wire_observation(observation)

    def step(
        self,
        action: WireAction,
        timeout_s: float | None = None,  # noqa: ARG002  OpenEnv's signature; a window cannot hang
        **_: Any,
    ) -> WireObservation:
        """Hold the action for one window; after the last one the rubric holds the grade."""
        observation = self._play(action)
        self._apply_rubric(action, observation)
        return observation

    def _score(self) -> float:
        """The grader's score; 0 on a variant, which is not graded."""
        return self._environment.grade().score if self._environment.is_graded else 0.0

    def _play(self, action: WireAction) -> WireObservation:
        observation = self._environment.step(action.knobs())
        self._seat.play.record(observation)
        _note(observation)
        return wire_observation(observation)

    async def reset_async(
        self, seed: int | None = None, episode_id: str | None = None, **fields: Any
    ) -> WireObservation:
        """`reset` in a thread: drawing an episode's traffic takes milliseconds."""
        try:
            async with self._seat.lock:
                return await asyncio.to_thread(
                    self.reset, seed=seed, episode_id=episode_id, **fields
                )
        except LLMServeError as error:
            _remember(error)
            raise

    async def step_async(
        self,
        action: WireAction,
        timeout_s: float | None = None,  # noqa: ARG002  as in step
        **_: Any,
    ) -> WireObservation:
        """`step` on the event loop, where a simulated window costs less than a thread would.

        Behind a socket nobody reads the rubric, and the grade is made when it is asked for.
        """
        try:
            async with self._seat.lock:
                if self._environment.takes_time:
                    observation = await asyncio.to_thread(self._play, action)
                else:
                    observation = self._play(action)
        except LLMServeError as error:
            _remember(error)
            raise
        exchange = exchange_of_socket.get()
        if exchange is not None:
            exchange.serving = self
        elif observation.done:  # grading takes milliseconds
            await asyncio.to_thread(self._apply_rubric, action, observation)
        else:
            self._apply_rubric(action, observation)
        return observation

    def step_at_once(self, action: WireAction) -> WireObservation | None:
        """`step_async` behind a socket where there is nothing to wait for; None, unplayed, if so.

        A window of a real server takes its time, and a call of a tool may be under way.
        """
        if self._environment.takes_time or self._seat.lock.locked():
            return None
        return self._play(action)

    async def prepare_state(self) -> None:
        """Make the grade that `state` tells of a finished episode, in a thread: it takes 20 ms."""
        if self._environment.is_finished and self._environment.is_graded:
            async with self._seat.lock:
                await asyncio.to_thread(self._environment.grade)

    @property
    def state(self) -> WireState:
        """Where the episode stands."""
        state = self._environment.state
        wire = WireRealState if isinstance(state, RealState) else WireState
        return wire.model_construct(**dict(state))

    def render_web(self, observation: dict[str, Any]) -> str | None:
        """OpenEnv's playground draws this above its form: instruments, and what held back."""
        seen = _observed(observation)
        return None if seen is None else drawn(shipped_catalogue().get(seen.task_id), seen)

    def web_actions(self, observation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """The settings that OpenEnv's playground offers at one click."""
        seen = _observed(observation)
        if seen is None:
            return []
        choices = quick_settings(shipped_catalogue().get(seen.task_id), seen)
        return [(label, action.model_dump()) for label, action in choices]

    def close(self) -> None:
        """Free what an unfinished episode holds; OpenEnv calls this when the socket closes."""
        self._environment.close()

    def get_metadata(self) -> EnvironmentMetadata:
        """What /metadata and the web page say about the environment."""
        return described()


def described() -> EnvironmentMetadata:
    """The environment in OpenEnv's words."""
    return EnvironmentMetadata(
        name=ENVIRONMENT_NAME,
        description=DESCRIPTION,
        version=shipped_catalogue().environment_version,
    )


def _observed(fields: dict[str, Any]) -> ServeObservation | None:
    """The observation in what OpenEnv's page hands over; None before the first."""
    if fields.get("task_id") is None:
        return None
    known = {name: value for name, value in fields.items() if name in ServeObservation.model_fields}
    model = RealObservation if fields.get("gpu_busy_fraction") is None else ServeObservation
    return model.model_validate(known)


def _remember(error: LLMServeError) -> None:
    exchange = exchange_of_socket.get()
    if exchange is not None:
        exchange.error = error


def _note(observation: ServeObservation) -> None:
    exchange = exchange_of_socket.get()
    if exchange is not None:
        exchange.observation = observation
