"""Plays the baselines from the command line and writes their scores as JSON.

    python -m server.baseline_inference --output scores.json
    python -m server.baseline_inference --runtime http --base-url http://127.0.0.1:7860
    python -m server.baseline_inference --mode openai --model gpt-4o-mini --dry-run

The mode `openai` lets a language model play, with OPENAI_API_KEY, at OPENAI_BASE_URL if it is set.

Exit status 2 if something cannot be done; the reason is on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import ValidationError

from agents.llm_budget import Budget
from agents.llm_dry_run import dry_run
from agents.llm_settings import DEFAULT_MODEL
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError, LLMServeError, NotAvailableError
from llmserve_env.gym_env import Episodes
from llmserve_env.models import GradeReport, RealObservation, ServeAction, ServeObservation
from llmserve_env.tasks import shipped_catalogue
from server.baselines import (
    DEFAULT_SEED,
    BaselineRequest,
    check_request,
    run_baselines,
    tasks_of,
)
from server.llm_baseline import TIME_LIMIT_S, LlmBaselineResponse, play_llm_baseline
from server.llm_command import add_llm_options, llm_settings, opened_chat

API_KEY: Final = "OPENAI_API_KEY"
BASE_URL: Final = "OPENAI_BASE_URL"
DEFAULT_URL: Final = "http://127.0.0.1:7860"
TIMEOUT_S: Final = 60.0
FAILED: Final = 2


class HttpEpisodes:
    """Plays episodes over the HTTP routes of a running server, in one session of its own."""

    def __init__(self, client: httpx.Client) -> None:
        """Take a client whose base URL is the server's; nothing is sent yet."""
        self._client = client
        self._session: dict[str, str] = {}

    def reset(self, **fields: Any) -> ServeObservation:
        """The first observation of a new episode.

        Raises:
            InvalidInputError: If the server refuses, or answers with something else.
            httpx.HTTPError: If the server cannot be reached.
        """
        return self._post("/reset", fields)

    def step(self, action: ServeAction) -> ServeObservation:
        """The observation after one window; raises as `reset` does."""
        return self._post("/step", {"action": action.model_dump(mode="json")})

    def grade(self) -> GradeReport:
        """The grade of what was played so far; raises as `reset` does."""
        return GradeReport.model_validate(
            _content(self._client.post("/grader", json=self._session))
        )

    def server_version(self) -> str:
        """The environment version that the server runs; raises as `reset` does."""
        return str(_content(self._client.get("/health")).get("version"))

    def close(self) -> None:
        """Give the session's place back."""
        if self._session:
            self._client.delete(f"/sessions/{self._session['session_id']}")

    def _post(self, path: str, body: dict[str, Any]) -> ServeObservation:
        content = _content(self._client.post(path, json=body | self._session))
        try:
            fields = content["observation"]
            is_real = "real" in fields["metadata"]
            kind = RealObservation if is_real else ServeObservation
            observation = kind.model_validate(fields)
            self._session = {"session_id": str(content["session_id"])}
        except (KeyError, TypeError, ValidationError) as error:
            raise InvalidInputError(f"{path}: the server answered no observation") from error
        return observation


def _content(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict) or response.is_error:
        message = content.get("error") if isinstance(content, dict) else response.text[:200]
        raise InvalidInputError(f"{response.url} answered {response.status_code}: {message}")
    return content


@contextmanager
def http_episodes(base_url: str) -> Iterator[HttpEpisodes]:
    """What plays on a running server of this environment version.

    Raises:
        InvalidInputError: If the server runs another version, whose scores do not compare.
        httpx.HTTPError: If it cannot be reached.
    """
    with httpx.Client(base_url=base_url, timeout=TIMEOUT_S) as client:
        episodes = HttpEpisodes(client)
        ours, theirs = shipped_catalogue().environment_version, episodes.server_version()
        if ours != theirs:
            raise InvalidInputError(f"the server runs version {theirs}, this is version {ours}")
        try:
            yield episodes
        finally:
            episodes.close()


def infer(arguments: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """The scores that the command line asks for, as JSON; prompts with --dry-run.

    Raises:
        NotAvailableError: In the mode `openai` without a key.
        LanguageModelError: If the model's play came to nothing.
        InvalidInputError: If seed, server or cassette will not do.
        UnknownTaskError: If there is no such task.
        httpx.HTTPError: If the server cannot be reached.
    """
    request = _request(arguments)
    check_request(request)
    if arguments.mode == "openai":
        return _infer_openai(arguments, request, environ)
    with _episodes(arguments) as episodes:
        return run_baselines(request, episodes).model_dump_json(indent=1) + "\n"


def _infer_openai(
    arguments: argparse.Namespace, request: BaselineRequest, environ: Mapping[str, str]
) -> str:
    settings = llm_settings(arguments)
    if arguments.dry_run:
        tasks = [shipped_catalogue().get(task_id) for task_id in tasks_of(request)]
        return dry_run(tasks, request.seed, settings)
    if arguments.replay is None and not environ.get(API_KEY):
        raise NotAvailableError(f"--mode openai needs {API_KEY} in the environment")
    key, url = environ.get(API_KEY), environ.get(BASE_URL) or None
    opened = opened_chat(arguments, arguments.model, settings, api_key=key, base_url=url)
    with opened as (chat, model), _episodes(arguments) as episodes:
        answer: LlmBaselineResponse = play_llm_baseline(
            chat,
            model,
            tasks_of(request),
            seed=request.seed,
            settings=settings,
            budget=Budget(deadline_s=time.monotonic() + TIME_LIMIT_S),
            episodes=episodes,
        )
    return answer.model_dump_json(indent=1) + "\n"


def _episodes(arguments: argparse.Namespace) -> AbstractContextManager[Episodes | None]:
    return nullcontext() if arguments.runtime == "in-process" else http_episodes(arguments.base_url)


def _request(arguments: argparse.Namespace) -> BaselineRequest:
    try:
        return BaselineRequest(task_id=arguments.task_id, seed=arguments.seed)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InvalidInputError(f"--seed {arguments.seed}: {problem['msg']}") from error


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; argparse exits with status 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m server.baseline_inference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--mode", choices=("deterministic", "openai"), default="deterministic")
    add("--runtime", choices=("in-process", "http"), default="in-process")
    add("--base-url", default=DEFAULT_URL, help="server of the runtime http")
    add("--model", default=DEFAULT_MODEL, help="model of the mode openai")
    add("--task-id", help="every task if left out")
    add("--seed", type=int, default=DEFAULT_SEED, help="the first test seed if left out")
    add("--output", type=Path, help="file for the JSON; stdout if left out")
    add_llm_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """0, or 2 if something cannot be done."""
    arguments = parse_arguments(argv)
    try:
        text = infer(arguments, environ)
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            write_text(arguments.output, text)
    except (LLMServeError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        sys.stderr.write(f"baseline_inference: {error}\n")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
