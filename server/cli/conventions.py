"""What every verb shares: exit statuses, --json, --url."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Annotated, Any

import typer

from llmserve_env.errors import LLMServeError


class ExitStatus(IntEnum):
    """What a verb's exit status says.

    CHECK_FAILED: what was asked for was done and came out bad. WRONG_INPUT: it cannot be done as
    asked. UNREACHABLE: a server does not answer, or answers nothing that we know. INTERRUPTED and
    TERMINATED: by Ctrl-C and by SIGTERM. NO_READER: whoever read the output has gone.
    """

    OK = 0
    CHECK_FAILED = 1
    WRONG_INPUT = 2
    UNREACHABLE = 3
    INTERRUPTED = 130
    NO_READER = 141
    TERMINATED = 143


class UnreachableError(LLMServeError):
    """A server does not answer, or what answers is no server of this kind."""

    http_status = 502
    code = "UNREACHABLE"


AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]
OnProfile = Annotated[
    str | None,
    typer.Option("--profile", help="Another GPU profile than the task's; `llmserve profiles`."),
]
ServerUrl = Annotated[
    str | None, typer.Option("--url", help="A running server, such as http://127.0.0.1:7860.")
]


def served_on(task_id: str, profile: str | None) -> str:
    """The id of the task on a profile, if one is given."""
    return task_id if profile is None else f"{task_id}:profile={profile}"


def write_json(document: Any) -> None:
    """Write one JSON document to stdout, and a line break; NaN and Infinity are refused."""
    typer.echo(json.dumps(document, indent=1, allow_nan=False))
