"""Asks a real server a few questions before an episode: is it there, how does it count, how fast.

The answers cost a few short requests at every reset, and a load of PROBE_S once per task where
LLMSERVE_REAL_RATE_SCALE is not set.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

from llmserve_env.errors import RealServerError
from llmserve_env.tasks import TaskSpec
from server.real_client import Answer, RealClient, RequestFailedError
from server.real_failures import Failure
from server.real_prompts import PromptScale, fit_scale, make_prompt
from server.real_settings import RealSettings, shown_url
from server.real_traffic import plan_traffic
from simulator.deployment import build_deployment
from simulator.load import offered_load
from simulator.rng import stream
from simulator.workload import task_requests

CANARY_TOKENS: Final = 4
FEW_WORDS: Final = 8
MANY_WORDS: Final = 72
PROBE_S: Final = 5.0
PROBE_CLIENTS: Final = 16
REFERENCE_SEED: Final = 0
_RNG_SEED: Final = 0


async def check_alive(client: RealClient, url: str | None) -> None:
    """Ask for a few tokens: health routes answer even where an engine hangs.

    Raises:
        RealServerError: With the kind of failure.
    """
    await _ask(client, FEW_WORDS, url)


async def measure_prompt_scale(client: RealClient, url: str | None) -> PromptScale:
    """How the server counts words; a token each where it does not tell.

    Raises:
        RealServerError: With the kind of failure.
    """
    measured = []
    for words in (FEW_WORDS, MANY_WORDS):
        answer = await _ask(client, words, url)
        if answer.prompt_tokens is None:
            return PromptScale()
        measured.append((words, answer.prompt_tokens))
    return fit_scale(measured[0], measured[1])


async def measure_rate_scale(
    client: RealClient, task: TaskSpec, settings: RealSettings, scale: PromptScale
) -> float:
    """The factor on a task's rate at which this server is as busy as the simulated one.

    PROBE_CLIENTS ask one request of the task after another for PROBE_S. What the server yields
    then, in requests per second, is taken for its capacity, and the task's offered load rho in the
    simulator for the share of it that is to be asked for.

    Raises:
        RealServerError: If no token comes.
    """
    deployment, horizon_s = build_deployment(task), task.windows * task.window_s
    rho = offered_load(task_requests(task, REFERENCE_SEED), deployment, horizon_s=horizon_s).mean
    unlimited = settings.model_copy(
        update={
            "real_max_requests_per_episode": 10**9,
            "real_max_tokens_per_episode": 10**12,
            "real_max_requests_per_step": 10**9,
        }
    )
    requests = plan_traffic(task, REFERENCE_SEED, unlimited, rate_scale=1.0).requests
    output_tps = await _saturate(
        client, scale, requests.prompt_tokens.tolist(), requests.output_tokens.tolist()
    )
    if output_tps <= 0.0:
        reason = f"no token came in {PROBE_S:g} s under {PROBE_CLIENTS} clients"
        raise RealServerError(shown_url(settings.real_base_url), reason)
    capacity_rps = output_tps / float(requests.output_tokens.mean())
    return rho * capacity_rps / (len(requests) / horizon_s)


async def _ask(client: RealClient, words: int, url: str | None) -> Answer:
    prompt = make_prompt(words, stream(_RNG_SEED, "real/canary"))
    try:
        return await client.generate(prompt, CANARY_TOKENS)
    except RequestFailedError as error:
        if error.trouble.failure is Failure.EMPTY_ANSWER:  # so short that it is all thought
            return Answer(None, None)
        reason = f"a request of {CANARY_TOKENS} tokens ended in {error.trouble.failure.value}"
        raise RealServerError(shown_url(url), reason) from None


async def _saturate(
    client: RealClient, scale: PromptScale, prompt_tokens: list[int], output_tokens: list[int]
) -> float:
    """Output tokens per second under clients that ask without a pause."""
    lengths = itertools.cycle(zip(prompt_tokens, output_tokens, strict=True))
    rng, received = stream(_RNG_SEED, "real/probe"), 0

    def count(tokens: int) -> None:
        nonlocal received
        received += tokens

    async def ask_on_and_on() -> None:
        while True:
            prompt, output = next(lengths)
            try:
                await client.generate(make_prompt(scale.words(prompt), rng), output, count)
            except RequestFailedError:
                await asyncio.sleep(PROBE_S / 20.0)

    clients = [asyncio.create_task(ask_on_and_on()) for _ in range(PROBE_CLIENTS)]
    started_s = time.monotonic()
    await asyncio.sleep(PROBE_S)
    elapsed_s = time.monotonic() - started_s
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return received / elapsed_s
