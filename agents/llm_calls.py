"""One question to a language model, its answer, and the ways in which there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

# A rule of thumb for English and JSON; told wherever a number rests on it.
CHARACTERS_PER_TOKEN: Final = 4


class Failure(Enum):
    """Why a call gave no action; docs/llm_agents.md says what follows from each."""

    AUTHENTICATION = "authentication"
    UNKNOWN_MODEL = "unknown_model"
    QUOTA = "quota"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    CONTEXT_TOO_LONG = "context_too_long"
    REFUSED = "refused"
    EMPTY = "empty"
    NO_JSON = "no_json"
    INVALID_ACTION = "invalid_action"
    LIMIT = "limit"


# No later call can do better: the episode is given up.
FATAL: Final = {Failure.AUTHENTICATION, Failure.UNKNOWN_MODEL, Failure.QUOTA}
# The same call again would fail again.
FINAL: Final = {Failure.CONTEXT_TOO_LONG, Failure.LIMIT}
# Nobody answered.
LOST: Final = {
    Failure.RATE_LIMITED,
    Failure.SERVER_ERROR,
    Failure.TIMEOUT,
    Failure.CONNECTION,
    Failure.MALFORMED,
}
# Whether these were charged cannot be known.
MAY_COST: Final = {Failure.TIMEOUT, Failure.CONNECTION, Failure.MALFORMED}


class CallFailedError(Exception):
    """A call without a usable answer. Its text never holds a key, a prompt or an answer.

    Attributes:
        kind: What happened.
        retry_after_s: How long the server asks to wait, if it says.
        advice: A line for the model, which is asked again; empty if it cannot help.
    """

    def __init__(
        self, kind: Failure, *, retry_after_s: float | None = None, advice: str = ""
    ) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question.

    Attributes:
        system: What holds for the whole episode.
        user: What was seen, and what was wrong with the last answer.
        tool: The JSON schema of what is to be answered.
    """

    system: str
    user: str
    tool: Mapping[str, Any]

    @property
    def estimated_tokens(self) -> int:
        """About how many tokens the question has, its tool included."""
        characters = len(self.system) + len(self.user) + len(str(self.tool))
        return characters // CHARACTERS_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, unread.

    Attributes:
        text: Its words; empty if it called a tool.
        arguments: JSON text of the tool's arguments, if it called one.
        prompt_tokens: As the server counted; None if it did not tell.
        completion_tokens: Likewise.
    """

    text: str
    arguments: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def estimated_tokens(self) -> int:
        """About how many tokens the answer has."""
        return len(self.text + (self.arguments or "")) // CHARACTERS_PER_TOKEN


class ChatModel(Protocol):
    """Whoever is asked: a server, or a cassette."""

    def ask(self, prompt: Prompt) -> Answer:
        """The answer to one call.

        Raises:
            CallFailedError: If there is none.
        """
