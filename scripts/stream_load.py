"""Sends planned requests to a streaming server at their times and keeps when every token came.

Used by the scripts that measure a real server. The client is real mode's own; a request's clock
starts when it was due, whether or not it was sent then (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from server.real_client import RealClient, RequestFailedError
from server.real_clock import MOST_STARVED_FRACTION, watch_lag
from server.real_prompts import PromptScale, make_prompt
from server.real_settings import RealSettings
from simulator.rng import stream

LAG_LIMIT_S: Final = RealSettings().real_client_lag_limit_ms / 1e3
LEAD_S: Final = 0.05  # from the start of a run to its time 0


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request to be sent.

    Attributes:
        due_s: Seconds from the start of the run.
        prompt_tokens: Wanted; the prompt is made of about as many.
        output_tokens: Asked for, and generated whatever the model says.
    """

    due_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(slots=True)
class TimedRequest:
    """What became of a planned request; owned by the run until that ends.

    Attributes:
        due_s: As planned, seconds from the start of the run.
        prompt_tokens: As the server counted them; as planned until it told.
        output_tokens: As the server counted them; as planned until it told.
        chunk_s: When outputs came, seconds from the start of the run, rising.
        failure: Kind of failure, or None.
    """

    due_s: float
    prompt_tokens: int
    output_tokens: int
    chunk_s: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def ttft_s(self) -> float:
        """First output after the time it was due."""
        return self.chunk_s[0] - self.due_s

    @property
    def tpot_s(self) -> float:
        """Mean time of an output token after the first, of at least two."""
        return (self.chunk_s[-1] - self.chunk_s[0]) / (self.output_tokens - 1)

    @property
    def finish_s(self) -> float:
        """Last output, seconds from the start of the run."""
        return self.chunk_s[-1]


@dataclass(frozen=True, slots=True)
class Load:
    """A run that is over.

    Attributes:
        requests: In the order of the plan.
        lag_s: The longest time that the client's event loop woke up late.
        starved_fraction: Share of the run's seconds in which it was later than LAG_LIMIT_S.
    """

    requests: tuple[TimedRequest, ...]
    lag_s: float
    starved_fraction: float

    @property
    def failures(self) -> int:
        """Requests without a complete answer."""
        return sum(request.failure is not None for request in self.requests)

    @property
    def is_valid(self) -> bool:
        """Whether every request was answered and the client was fit to time it."""
        return self.failures == 0 and self.starved_fraction <= MOST_STARVED_FRACTION


def settings_for(url: str, model: str, *, timeout_s: float = 120.0) -> RealSettings:
    """Settings of a client for a server with exact output lengths, such as vLLM or llama.cpp."""
    return RealSettings(
        mode="real",
        real_provider="vllm",
        real_model=model,
        real_base_url=url,
        real_request_timeout_s=timeout_s,
    )


async def send(
    client: RealClient, scale: PromptScale, plan: Sequence[PlannedRequest], *, seed: int
) -> Load:
    """Send every request when it is due and wait for all answers.

    Args:
        client: Of the server.
        scale: How the server counts words.
        plan: In order of due_s.
        seed: Draws the words of the prompts.
    """
    rng = stream(seed, "stream_load/prompts")
    prompts = [make_prompt(scale.words(each.prompt_tokens), rng) for each in plan]
    timed = [TimedRequest(each.due_s, each.prompt_tokens, each.output_tokens) for each in plan]
    lags: list[float] = []
    watch = asyncio.create_task(watch_lag(lags))
    start_s = time.monotonic() + LEAD_S
    calls = [
        asyncio.create_task(_call(client, prompt, request, start_s))
        for prompt, request in zip(prompts, timed, strict=True)
    ]
    await asyncio.gather(*calls)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    starved = sum(lag_s > LAG_LIMIT_S for lag_s in lags)
    return Load(tuple(timed), max(lags), starved / len(lags))


async def _call(client: RealClient, prompt: str, request: TimedRequest, start_s: float) -> None:
    await asyncio.sleep(start_s + request.due_s - time.monotonic())

    def note(_tokens: int) -> None:
        request.chunk_s.append(time.monotonic() - start_s)

    try:
        answer = await client.generate(prompt, request.output_tokens, note)
    except RequestFailedError as error:
        request.failure = error.trouble.failure.value
        return
    if answer.prompt_tokens is not None:
        request.prompt_tokens = answer.prompt_tokens
    if answer.completion_tokens is not None:
        request.output_tokens = answer.completion_tokens
