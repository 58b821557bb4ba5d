"""Calls to a language model as a file: recorded once, replayed offline, without key or prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.llm_calls import Answer, CallFailedError, ChatModel, Failure, Prompt
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError

Record = TypeVar("Record", bound=BaseModel)


class _Line(BaseModel):
    """One call: the digest of what was asked, and the answer or the failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_sha256: str
    answer: Answer | None = None
    failure: Failure | None = None
    retry_after_s: float | None = None


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["llmserve-cassette/1"] = "llmserve-cassette/1"
    model: str


class Recorder:
    """Asks another and keeps what came; `save` writes it."""

    def __init__(self, asked: ChatModel, model: str) -> None:
        self._asked = asked
        self._header = _Header(model=model)
        self._lines: list[_Line] = []

    def ask(self, prompt: Prompt) -> Answer:
        """The other's answer; raises as it does."""
        digest = digest_of(prompt)
        try:
            answer = self._asked.ask(prompt)
        except CallFailedError as error:
            self._lines.append(
                _Line(prompt_sha256=digest, failure=error.kind, retry_after_s=error.retry_after_s)
            )
            raise
        self._lines.append(_Line(prompt_sha256=digest, answer=answer))
        return answer

    def save(self, path: Path) -> None:
        """Write the cassette, a line of JSON per call; raises OSError if that cannot be."""
        lines: Sequence[BaseModel] = [self._header, *self._lines]
        write_text(path, "".join(f"{line.model_dump_json(exclude_none=True)}\n" for line in lines))


class Player:
    """Answers as the cassette does, as long as it is asked the same.

    Attributes:
        model: Whose answers these are.
    """

    def __init__(self, path: Path) -> None:
        """Read the cassette.

        Raises:
            InvalidInputError: If the file is none, naming the line.
        """
        try:
            rows = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{path} cannot be read: {error}") from error
        self._path = path
        self.model = _parse(path, _Header, 1, rows[0] if rows else "").model
        self._lines = [_parse(path, _Line, i, row) for i, row in enumerate(rows[1:], start=2)]
        self._next = 0

    def ask(self, prompt: Prompt) -> Answer:
        """The recorded answer.

        Raises:
            CallFailedError: If a failure was recorded.
            InvalidInputError: If something else was asked then, or the cassette has ended.
        """
        number = self._next + 2
        if self._next >= len(self._lines):
            raise InvalidInputError(f"{self._path} ends with line {number - 1}; record it anew")
        line = self._lines[self._next]
        self._next += 1
        if line.prompt_sha256 != digest_of(prompt):
            raise InvalidInputError(
                f"{self._path} line {number} answers another prompt: other settings, task, seed or "
                f"version; record it anew"
            )
        if line.answer is None:
            raise CallFailedError(
                line.failure or Failure.MALFORMED, retry_after_s=line.retry_after_s
            )
        return line.answer


def digest_of(prompt: Prompt) -> str:
    """SHA-256 of all that was asked, in hexadecimal."""
    return hashlib.sha256(json.dumps(asdict(prompt), sort_keys=True).encode()).hexdigest()


def _parse(path: Path, model: type[Record], number: int, text: str) -> Record:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidInputError(
            f"{path} line {number} is not of a cassette: {problem['msg']}"
        ) from None
