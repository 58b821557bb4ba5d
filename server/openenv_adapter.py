"""Puts the environment behind OpenEnv's Environment interface, one object per WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State

from llmserve_env.errors import LLMServeError
from llmserve_env.models import (
    KNOBS,
    RealObservation,
    RealState,
    ServeAction,
    ServeObservation,
    ServeState,
)
from llmserve_env.tasks import shipped_catalogue
from server.graded import GradedEnvironment
from server.rubrics import EpisodeRubric
from server.split_tasks import SplitTasks

ENVIRONMENT_NAME = "llmserve_env"
DESCRIPTION = (
    "A closed-loop LLM serving deployment to control: six knobs (batch cap, KV budget, speculation "
    "depth, quantization tier, prefill/decode split, priority routing) are set once a second while "
    "requests arrive, queue, are batched on measured GPU times, and finish or miss their SLO."
)


class WireAction(ServeAction, Action):
    """ServeAction as OpenEnv's server wants it: with its base class and free `metadata`."""

    def knobs(self) -> ServeAction:
        """The action itself, without the metadata."""
        return ServeAction.model_construct(**{knob: getattr(self, knob) for knob in KNOBS})


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
    return wire.model_construct(**dict(observation))


@dataclass(slots=True)
class Refusal:
    """The error that the environment behind one socket raised last, until it is answered."""

    error: LLMServeError | None = None


# OpenEnv's /ws answers every exception with the same code; through this the socket guard, which
# runs in the same task, learns which of our errors it was.
refusal_of_socket: ContextVar[Refusal | None] = ContextVar("refusal_of_socket", default=None)


class OpenEnvServing(SplitTasks, Environment[WireAction, WireObservation, WireState]):
    """An environment behind the interface that OpenEnv's server calls, with rubric and tasks."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(
        self, make_environment: Callable[[], GradedEnvironment] = GradedEnvironment
    ) -> None:
        """Play in an environment made by this; no episode runs yet."""
        self._environment = make_environment()
        super().__init__(rubric=EpisodeRubric(self._score))

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, **fields: Any
    ) -> WireObservation:
        """Start an episode; `fields` are the other fields of ResetOptions."""
        observation = self._environment.reset(seed=seed, episode_id=episode_id, **fields)
        self._reset_rubric()
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
        return wire_observation(self._environment.step(action.knobs()))

    async def reset_async(
        self, seed: int | None = None, episode_id: str | None = None, **fields: Any
    ) -> WireObservation:
        """`reset` in a thread: drawing an episode's traffic takes milliseconds."""
        try:
            return await asyncio.to_thread(self.reset, seed=seed, episode_id=episode_id, **fields)
        except LLMServeError as error:
            _remember(error)
            raise

    async def step_async(
        self,
        action: WireAction,
        timeout_s: float | None = None,  # noqa: ARG002  as in step
        **_: Any,
    ) -> WireObservation:
        """`step` on the event loop, where a simulated window costs less than a thread would."""
        try:
            if self._environment.takes_time:
                observation = await asyncio.to_thread(self._play, action)
            else:
                observation = self._play(action)
        except LLMServeError as error:
            _remember(error)
            raise
        if observation.done:  # grading takes milliseconds
            await asyncio.to_thread(self._apply_rubric, action, observation)
        else:
            self._apply_rubric(action, observation)
        return observation

    @property
    def state(self) -> WireState:
        """Where the episode stands."""
        state = self._environment.state
        wire = WireRealState if isinstance(state, RealState) else WireState
        return wire.model_construct(**dict(state))

    def close(self) -> None:
        """Free what an unfinished episode holds; OpenEnv calls this when the socket closes."""
        self._environment.close()

    def get_metadata(self) -> EnvironmentMetadata:
        """What /metadata and the web page say about the environment."""
        return EnvironmentMetadata(
            name=ENVIRONMENT_NAME,
            description=DESCRIPTION,
            version=shipped_catalogue().environment_version,
        )


def _remember(error: LLMServeError) -> None:
    refusal = refusal_of_socket.get()
    if refusal is not None:
        refusal.error = error
