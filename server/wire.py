"""The bodies and socket messages that the server reads, and what it answers to a play."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from llmserve_env.models import EpisodeLog, ResetOptions, ServeObservation, ServeState
from server.openenv_adapter import WireAction
from server.problems import InvalidFieldsError
from server.sessions import MAX_ID_CHARACTERS

SessionId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StartOptions(ResetOptions):
    """What to play: a new episode, or one to go on with from its log."""

    episode_log: EpisodeLog | None = Field(
        default=None, description="Its actions are played again, and the episode goes on there."
    )

    @model_validator(mode="after")
    def _says_what_once(self) -> Self:
        beside = self.model_fields_set & {"task_id", "seed", "trace_seed", "reward_weights"}
        if self.episode_log is not None and beside:
            raise ValueError(f"episode_log says itself what is played; drop {sorted(beside)}")
        return self


class ResetRequest(StartOptions):
    """POST /reset: what to play, in a new session or in the one named."""

    session_id: SessionId | None = None


class StepRequest(_Closed):
    """POST /step: the action of one window. The last two are OpenEnv's and have no effect here."""

    action: WireAction
    session_id: SessionId | None = None
    timeout_s: Annotated[float, Field(gt=0.0)] | None = None
    request_id: Annotated[str, Field(max_length=255)] | None = None


class GradeRequest(_Closed):
    """POST /grader: whose episode to grade; the most recent session's if nothing is named."""

    session_id: SessionId | None = None
    episode_id: SessionId | None = None
    episode_log: EpisodeLog | None = None


class PlayResponse(_Closed):
    """Answer to /reset and /step: OpenEnv's four fields and the session."""

    observation: ServeObservation
    reward: float | None
    done: bool
    metadata: dict[str, Any]
    session_id: str


class StateResponse(ServeState):
    """Answer to GET /state; `session_id` is None while nobody has called reset."""

    session_id: str | None


class ResetMessage(_Closed):
    """Socket message that starts an episode."""

    type: Literal["reset"]
    data: StartOptions = StartOptions()


class StepMessage(_Closed):
    """Socket message that plays a window."""

    type: Literal["step"]
    data: WireAction


class BareMessage(_Closed):
    """Socket message that asks for the state or closes the session."""

    type: Literal["state", "close"]


class McpMessage(_Closed):
    """Socket message that carries a JSON-RPC call; OpenEnv reads its content."""

    type: Literal["mcp"]
    data: dict[str, Any]


SocketRequest = ResetMessage | StepMessage | BareMessage | McpMessage
SocketMessage = TypeAdapter[SocketRequest](Annotated[SocketRequest, Field(discriminator="type")])

Body = TypeVar("Body", bound=BaseModel)


def parse_body(model: type[Body], raw: bytes) -> Body:
    """The request body as this model; an empty body reads as an empty object.

    Raises:
        InvalidFieldsError: If it is not JSON, or a field is unknown, ill-typed or out of range.
    """
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise InvalidFieldsError(error) from error


def parse_message(text: str) -> SocketRequest:
    """One message of the socket /ws.

    Raises:
        InvalidFieldsError: As for `parse_body`.
    """
    try:
        return SocketMessage.validate_json(text)
    except ValidationError as error:
        # The first part of every location is the union's tag, which the sender never wrote.
        raise InvalidFieldsError(error, skip_levels=1) from error
