"""The client: OpenEnv's own, over one WebSocket, and a synchronous face for notebooks and scripts.

>>> env = LLMServeEnv.from_url("http://localhost:7860")
>>> observation = env.reset(task_id="static_workload", seed=42)
>>> while not observation.done:
...     observation, reward, done, info = env.step(action)
>>> print(env.grade().score)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient
from openenv.core.sync_client import SyncEnvClient

from llmserve_env.errors import (
    EpisodeNotFinishedError,
    EpisodeNotStartedError,
    NotGradedError,
    NotReplayableError,
)
from llmserve_env.models import (
    KNOBS,
    GradeReport,
    RealObservation,
    RealState,
    ServeAction,
    ServeObservation,
    ServeState,
)


@dataclass
class ServeStepResult(StepResult[ServeObservation]):
    """OpenEnv's result of a reset or step, which also reads as an observation and as a tuple.

    `result.p99_ttft_ms` is `result.observation.p99_ttft_ms`, and
    `observation, reward, done, info = result` takes it apart; `info` is the observation's metadata.
    """

    metadata: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Observation, reward, done and info, in the order of the tuple."""
        yield from (self.observation, self.reward, self.done, self.metadata)

    def __getattr__(self, name: str) -> Any:
        """A field or method of the observation; `__dict__` guards copies not yet filled."""
        if "observation" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.observation, name)


class LLMServeEnv(EnvClient[ServeAction | Mapping[str, Any], ServeObservation, ServeState]):
    """OpenEnv's asynchronous client of one episode; `from_url` gives the synchronous one."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> SyncLLMServeEnv:
        """A synchronous client of the server at this URL; it connects on first use.

        Args:
            url: Such as http://localhost:7860.
            **options: Of OpenEnv's EnvClient: message_timeout_s, headers and so on.
        """
        return cls(base_url=url, **options).sync()

    def sync(self) -> SyncLLMServeEnv:
        """The synchronous face of this client; works where an event loop already runs."""
        known = getattr(self, "_sync_client", None)  # openenv-core 0.3.0 keeps none
        if not isinstance(known, SyncLLMServeEnv):
            known = self._sync_client = SyncLLMServeEnv(self)
        return known

    async def grade(self) -> GradeReport:
        """The grade of the finished episode, from the server that played it.

        Raises:
            EpisodeNotStartedError: Before the first reset.
            EpisodeNotFinishedError: Before the last window.
            NotGradedError: If the task is a variant.
            NotReplayableError: If the episode was played on a real server.
        """
        return _grade_in(await self.state())

    def _step_payload(self, action: ServeAction | Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(action, ServeAction):
            return action.model_dump(include=set(KNOBS))
        return dict(action)

    def _parse_result(self, payload: dict[str, Any]) -> ServeStepResult:
        # OpenEnv takes reward and done out of the observation; 0.3.0 drops its metadata as well.
        fields = {"metadata": payload.get("metadata") or {}} | payload["observation"]
        is_real = "real" in fields["metadata"]
        observation = (RealObservation if is_real else ServeObservation).model_validate(
            fields | {"reward": payload["reward"], "done": payload["done"]}
        )
        return ServeStepResult(
            observation=observation,
            reward=observation.reward,
            done=observation.done,
            metadata=observation.metadata,
        )

    def _parse_state(self, payload: dict[str, Any]) -> ServeState:
        is_real = payload.get("mode") == "real"
        return (RealState if is_real else ServeState).model_validate(payload)


class SyncLLMServeEnv(SyncEnvClient[ServeAction | Mapping[str, Any], ServeObservation, ServeState]):
    """The synchronous client. Close it, or use it in a `with` block, to free its place."""

    def reset(self, **fields: Any) -> ServeStepResult:
        """Start an episode; `fields` are those of ResetOptions (task_id, seed, trace_seed, ...)."""
        return cast(ServeStepResult, super().reset(**fields))

    def step(self, action: ServeAction | Mapping[str, Any], **_: Any) -> ServeStepResult:
        """Hold an action for one window; a mapping needs all six knobs."""
        return cast(ServeStepResult, super().step(action))

    def grade(self) -> GradeReport:
        """The grade of the finished episode; raises as LLMServeEnv.grade does."""
        return _grade_in(self.state())

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self


def _grade_in(state: ServeState) -> GradeReport:
    if state.grade is not None:
        return state.grade
    if state.episode_id is None:
        raise EpisodeNotStartedError
    if isinstance(state, RealState):
        raise NotReplayableError("grade")
    if state.done and state.task_id is not None:
        raise NotGradedError(state.task_id)
    raise EpisodeNotFinishedError(state.step_count)


# OpenEnv's AutoEnv derives this name from the distribution's.
LlmserveEnv = LLMServeEnv
