"""Options of `llmserve calibrate` -> how the server is asked, within which limits and budget."""

from __future__ import annotations

import os
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from llmserve_env.errors import InvalidInputError
from server.calibration.journal import Progress, Spent
from server.calibration.running import Budget, cost_of_preparing, cost_of_rest
from server.real_settings import RealSettings, shown_url
from simulator.calibration.records import Api, Plan, ServerLimits
from simulator.hardware import profile_names

# Of the plan's cost, for visits that have to be repeated.
SPARE_FRACTION: Final = 0.25
PROVIDERS: Final[dict[Api, Literal["openai", "vllm"]]] = {"completions": "vllm", "chat": "openai"}


def with_path(url: str) -> str:
    """The URL with the path of OpenAI's API, if it has none."""
    return f"{url.rstrip('/')}/v1" if urlsplit(url).path in ("", "/") else url


def client_settings(
    url: str, model: str, api: Api, key_from: str | None, timeout_s: float
) -> RealSettings:
    """How the client asks the server.

    Raises:
        InvalidInputError: If the URL is none, or the variable with the key is not there.
    """
    key = None
    if key_from is not None:
        key = os.environ.get(key_from)
        if not key:
            raise InvalidInputError(f"--key-from {key_from!r:.80}: no such environment variable")
    try:
        return RealSettings(
            mode="real",
            openai_api_key=None if key is None else SecretStr(key),
            real_provider=PROVIDERS[api],
            real_model=model,
            real_base_url=url,
            real_request_timeout_s=timeout_s,
        )
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"--url: {message}, got {shown_url(url)!r:.80}") from error


def server_limits(seqs: int, batched_tokens: int, model_len: int) -> ServerLimits:
    """What the server was started with.

    Raises:
        InvalidInputError: If a setting is out of range, naming its option.
    """
    try:
        return ServerLimits(
            max_num_seqs=seqs, max_num_batched_tokens=batched_tokens, max_model_len=model_len
        )
    except ValidationError as error:
        problem = error.errors()[0]
        option = f"--{str(problem['loc'][0]).replace('_', '-')}"
        raise InvalidInputError(f"{option}: {problem['msg']}, got {problem['input']}") from error


def budget_for(plan: Plan, requests: int | None, tokens: int | None) -> Budget:
    """What is allowed; refused if it is less than the plan needs once.

    Raises:
        InvalidInputError: Naming both.
    """
    preparing, visits = cost_of_preparing(plan), cost_of_rest(Progress(plan))
    needed = Spent(visits.requests + preparing.requests, visits.tokens + preparing.tokens)
    allowed = Budget(
        requests or round(needed.requests * (1.0 + SPARE_FRACTION)),
        tokens or round(needed.tokens * (1.0 + SPARE_FRACTION)),
    )
    for name in ("requests", "tokens"):
        most, need = getattr(allowed, name), getattr(needed, name)
        if most < need:
            raise InvalidInputError(
                f"--max-{name} {most}: the plan needs {need}; fewer --most-clients or a shorter "
                "--longest-prompt ask for less"
            )
    return allowed


def shipped(profile: str) -> str:
    """The name of a shipped profile.

    Raises:
        InvalidInputError: Naming those that are.
    """
    if profile not in profile_names():
        known = ", ".join(profile_names())
        raise InvalidInputError(f"--profile {profile!r:.80}: no shipped profile; those: {known}")
    return profile
