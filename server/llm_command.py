"""The options about language models that the programs share, and the model that they open."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from agents.llm_calls import ChatModel
from agents.llm_cassette import Player, Recorder
from agents.llm_client import OpenAIChat
from agents.llm_settings import LlmSettings
from llmserve_env.errors import InvalidInputError


def add_llm_options(parser: argparse.ArgumentParser) -> None:
    """Add the bounds of LlmSettings that matter most, --dry-run, --record and --replay."""
    fields = LlmSettings.model_fields
    add = parser.add_argument
    add("--hold", type=int, default=fields["hold_windows"].default, help="windows, 1 to 50")
    add("--max-decisions", type=int, default=fields["max_decisions"].default, help="per episode")
    add("--timeout-s", type=float, default=fields["timeout_s"].default, help="of a call")
    tokens = fields["max_completion_tokens"].default
    add("--max-completion-tokens", type=int, default=tokens, help="of a call")
    add("--dry-run", action="store_true", help="print prompts and an estimate; ask nobody")
    cassette = parser.add_mutually_exclusive_group()
    cassette.add_argument("--record", type=Path, metavar="F", help="keep the answers in this file")
    cassette.add_argument("--replay", type=Path, metavar="F", help="take the answers from there")


def llm_settings(arguments: argparse.Namespace) -> LlmSettings:
    """The settings that the command line asks for.

    Raises:
        InvalidInputError: Naming the option that is out of range.
    """
    options = {
        "hold_windows": arguments.hold,
        "max_decisions": arguments.max_decisions,
        "timeout_s": arguments.timeout_s,
        "max_completion_tokens": arguments.max_completion_tokens,
    }
    if arguments.replay is not None:
        options["pause_s"] = 0.0
    try:
        return LlmSettings.model_validate(options)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidInputError(
            f"{problem['loc'][0]}: {problem['msg']}, got {problem['input']}"
        ) from error


@contextmanager
def opened_chat(
    arguments: argparse.Namespace,
    model: str,
    settings: LlmSettings,
    *,
    api_key: str | None,
    base_url: str | None,
) -> Iterator[tuple[ChatModel, str]]:
    """Whom to ask and the model's name: a server, or a cassette; a recording is saved at the end.

    Raises:
        NotAvailableError: Without the package `openai` or a key.
        InvalidInputError: If the cassette is none.
        OSError: If a recording cannot be written.
    """
    if arguments.replay is not None:
        player = Player(arguments.replay)
        yield player, player.model
        return
    chat = OpenAIChat(model, settings, api_key=api_key, base_url=base_url)
    if arguments.record is None:
        yield chat, model
        return
    recorder = Recorder(chat, model)
    try:
        yield recorder, model
    finally:
        recorder.save(arguments.record)
