"""One visit to a real server: clients that ask again once answered, timed as they stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.real_client import RealClient, RequestFailedError
from server.real_clock import watch_lag
from server.real_failures import Trouble
from server.real_prompts import PromptScale, make_prompt
from simulator.calibration.records import Answered, Ended, Visit
from simulator.rng import stream

DIGITS: Final = 5  # of times in the journal: 10 microseconds
# A request that is alone on the server, before and after every visit: is it as fast as it was?
CANARY_PROMPT: Final = 32
CANARY_OUTPUT: Final = 32
CANARIES: Final = 2
CANARY_TOKENS: Final = 4 * CANARY_PROMPT + CANARY_OUTPUT  # at most, with a chat template


class VisitFailedError(Exception):
    """A request of a visit failed, so that the visit does not count.

    Attributes:
        trouble: What failed.
        requests: Sent until then.
        tokens: Planned for them, together.
    """

    def __init__(self, trouble: Trouble, requests: int, tokens: int) -> None:
        super().__init__(trouble.failure.value)
        self.trouble, self.requests, self.tokens = trouble, requests, tokens


@dataclass(frozen=True, slots=True)
class Ask:
    """One visit's place in the journal, and whom to tell of answers."""

    number: int
    attempt: int
    on_answer: Callable[[Answered], None]


async def play_visit(
    client: RealClient, visit: Visit, scale: PromptScale, ask: Ask, *, seed: int, lag_limit_s: float
) -> Ended:
    """Send all requests of a visit and wait for their answers.

    Args:
        client: Of the server.
        visit: What is sent.
        scale: How the server counts words.
        ask: The visit's place, and whom to tell of every answer.
        seed: Draws the words of the prompts.
        lag_limit_s: A second in which this process woke up later than this is starved.

    Raises:
        VisitFailedError: As soon as one request fails; the others are cut off.
    """
    rng = stream(seed, f"calibration/prompts/{ask.number}/{ask.attempt}")
    canary = make_prompt(scale.words(CANARY_PROMPT), rng)
    before_s = await _canary_tpot_s(client, canary)
    prompts = [make_prompt(scale.words(tokens), rng) for tokens in visit.prompt_tokens]
    waiting = iter(range(len(prompts)))
    sent: list[int] = []
    lags: list[float] = []
    watch = asyncio.create_task(watch_lag(lags))
    start_s = time.monotonic()

    async def take_one_after_another() -> None:
        for index in waiting:
            sent.append(index)
            ask.on_answer(await _ask(client, visit, index, prompts[index], ask, start_s))

    clients = [asyncio.create_task(take_one_after_another()) for _ in range(visit.clients)]
    try:
        await asyncio.gather(*clients)
    except RequestFailedError as error:
        tokens = sum(visit.prompt_tokens[i] + visit.output_tokens[i] for i in sent)
        raise VisitFailedError(error.trouble, len(sent) + 1, tokens + CANARY_TOKENS) from None
    finally:
        for task in (*clients, watch):
            task.cancel()
        await asyncio.gather(*clients, watch, return_exceptions=True)
    after_s = await _canary_tpot_s(client, canary, visit)
    return Ended(
        visit=ask.number,
        attempt=ask.attempt,
        requests=len(prompts),
        before_tpot_s=before_s,
        after_tpot_s=after_s,
        client_lag_s=round(max(lags), DIGITS),
        starved_fraction=sum(lag_s > lag_limit_s for lag_s in lags) / len(lags),
    )


async def _canary_tpot_s(client: RealClient, prompt: str, played: Visit | None = None) -> float:
    """TPOT of a request that is alone on the server, before a visit or after the one played."""
    output_s: list[float] = []
    try:
        answer = await client.generate(
            prompt, CANARY_OUTPUT, lambda _: output_s.append(time.monotonic())
        )
    except RequestFailedError as error:
        requests, tokens = 1, CANARY_TOKENS
        if played is not None:
            requests += len(played.prompt_tokens) + 1
            tokens += played.tokens + CANARY_TOKENS
        raise VisitFailedError(error.trouble, requests, tokens) from None
    later = (answer.completion_tokens or len(output_s)) - 1
    return round((output_s[-1] - output_s[0]) / max(later, 1), DIGITS)


async def _ask(
    client: RealClient, visit: Visit, index: int, prompt: str, ask: Ask, start_s: float
) -> Answered:
    output_s: list[float] = []
    tokens_each: list[int] = []
    sent_s = time.monotonic()

    def note(tokens: int) -> None:
        output_s.append(round(time.monotonic() - sent_s, DIGITS))
        tokens_each.append(tokens)

    answer = await client.generate(prompt, visit.output_tokens[index], note)
    told = answer.completion_tokens
    return Answered(
        visit=ask.number,
        attempt=ask.attempt,
        sent_s=round(sent_s - start_s, DIGITS),
        output_s=tuple(output_s),
        output_tokens_each=tuple(tokens_each) if max(tokens_each) > 1 else None,
        prompt_tokens=answer.prompt_tokens or visit.prompt_tokens[index],
        output_tokens=told or sum(tokens_each),
    )
