"""Plays a plan on a real server within a budget, and goes on where an earlier run stopped."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from llmserve_env.errors import InvalidInputError, LLMServeError
from server.calibration.journal import Journal, Progress, Spent, cost_of
from server.calibration.loading import Ask, VisitFailedError, play_visit
from server.real_client import RealClient, RequestFailedError
from server.real_failures import FATAL, Failure, Trouble
from server.real_probe import FEW_WORDS, MANY_WORDS
from server.real_prompts import PromptScale, fit_scale, make_prompt
from server.real_settings import RealSettings, shown_url
from simulator.calibration.records import Began, Failed, Plan, Probe
from simulator.rng import stream

ROUNDS: Final = 3
ATTEMPTS: Final = 3
PAUSE_S: Final = 1.0  # before another attempt, doubled each time, if the server names none
LONGEST_PAUSE_S: Final = 60.0
COUNTED_TOKENS: Final = 4  # answers of the requests that count a prompt's tokens
WARM_UPS: Final = 2
# What cannot get better by asking again.
HOPELESS: Final = FATAL | {Failure.CONTEXT_TOO_LONG, Failure.BAD_REQUEST}


class ServerFailedError(LLMServeError):
    """The server did not answer as it must for a measurement."""

    http_status = 502
    code = "REAL_SERVER_FAILED"


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be asked of the server, all runs on one folder together."""

    requests: int
    tokens: int


def check_host(url: str, named: str | None) -> None:
    """Refuse a host that is neither this machine nor the one that was named.

    Raises:
        InvalidInputError: Saying how to name it.
    """
    host = urlsplit(url).hostname or ""
    if not _is_loopback(host) and host != (named or "").lower():
        raise InvalidInputError(
            f"{shown_url(url)} is not this machine; to load it, name it: --host {host}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def cost_of_preparing(plan: Plan) -> Spent:
    """What a run asks before its first visit, at most."""
    longest = max(max(visit.prompt_tokens) for visit in plan.visits)
    output = max(max(visit.output_tokens) for visit in plan.visits)
    counting = 2 * (4 * MANY_WORDS + COUNTED_TOKENS)
    return Spent(2 + WARM_UPS, counting + WARM_UPS * (longest + output))


def cost_of_rest(progress: Progress) -> Spent:
    """What the visits that are not measured, or not well, ask once each."""
    return cost_of(*(progress.plan.visits[number] for number in progress.to_play()))


async def run_plan(
    journal: Journal,
    client: RealClient,
    budget: Budget,
    *,
    settings: RealSettings,
    on_visit: Callable[[object], None],
) -> None:
    """Play every visit of the plan that is not measured, then those that were not measured well.

    The latter are played again ROUNDS - 1 times at most, as far as the budget goes.

    Args:
        journal: Of the folder.
        client: Of the server.
        budget: Nothing is sent beyond it.
        settings: Of the client.
        on_visit: Called after each visit.

    Raises:
        InvalidInputError: If the server refuses what it is asked: key, model, length.
        ServerFailedError: If it fails again and again, or the budget is spent before the end.
    """
    progress = journal.progress
    if not progress.to_play():
        return
    await _check_model(client, progress.plan)
    scale = await _prepare(journal, client, budget)
    for again in range(ROUNDS):
        for number in progress.to_play():
            if again == 0 and number in progress.complete:
                continue  # first what was never measured
            if again and not _is_affordable(progress, budget, number):
                return
            await _play_until_complete(
                journal, client, budget, number, scale=scale, settings=settings
            )
            on_visit(number)


async def _check_model(client: RealClient, plan: Plan) -> None:
    try:
        models = await client.models()
    except RequestFailedError as error:
        if error.trouble.failure is Failure.UNKNOWN_MODEL:
            return  # there is no such route; the first request will tell
        raise _error(error.trouble.failure, plan) from None
    if models and plan.model not in models:
        known = ", ".join(sorted(models))
        raise InvalidInputError(f"{plan.server} has no model {plan.model!r:.80}; it has: {known}")
    context = models.get(plan.model)
    if context is not None and context < plan.limits.max_model_len:
        raise InvalidInputError(
            f"{plan.server} serves {plan.model} with max_model_len {context}: "
            f"give --max-model-len {context}, not {plan.limits.max_model_len}"
        )


async def _prepare(journal: Journal, client: RealClient, budget: Budget) -> PromptScale:
    """Count a prompt's tokens, and ask the longest request a few times so that caches are warm."""
    plan = journal.progress.plan
    cost = cost_of_preparing(plan)
    _check_budget(journal.progress, budget, cost)
    for again in range(ATTEMPTS):
        journal.add(Probe(requests=cost.requests, tokens=cost.tokens))
        try:
            return await _count_and_warm_up(plan, client)
        except RequestFailedError as error:
            failure = error.trouble.failure
            if failure in HOPELESS or again == ATTEMPTS - 1:
                raise _error(failure, plan, kept=len(journal.progress.complete)) from None
            await asyncio.sleep(_pause_s(error.trouble, again))
            _check_budget(journal.progress, budget, cost)
    raise RuntimeError("the last attempt returns or raises")


async def _count_and_warm_up(plan: Plan, client: RealClient) -> PromptScale:
    rng = stream(plan.seed, "calibration/prepare")
    longest = max(max(visit.prompt_tokens) for visit in plan.visits)
    output = max(max(visit.output_tokens) for visit in plan.visits)
    few = (await client.generate(make_prompt(FEW_WORDS, rng), COUNTED_TOKENS)).prompt_tokens
    many = (await client.generate(make_prompt(MANY_WORDS, rng), COUNTED_TOKENS)).prompt_tokens
    scale = PromptScale()  # a token each, where the server does not tell
    if few is not None and many is not None:
        scale = fit_scale((FEW_WORDS, few), (MANY_WORDS, many))
    for _ in range(WARM_UPS):
        await client.generate(make_prompt(scale.words(longest), rng), output)
    return scale


async def _play_until_complete(
    journal: Journal,
    client: RealClient,
    budget: Budget,
    number: int,
    *,
    scale: PromptScale,
    settings: RealSettings,
) -> None:
    progress = journal.progress
    plan, visit = progress.plan, progress.plan.visits[number]
    for again in range(ATTEMPTS):
        _check_budget(progress, budget, cost_of(visit))
        attempt = progress.attempts.get(number, 0) + 1
        at = datetime.now(UTC).isoformat(timespec="seconds")
        journal.add(Began(visit=number, attempt=attempt, at=at))
        try:
            ended = await play_visit(
                client,
                visit,
                scale,
                Ask(number, attempt, journal.add),
                seed=plan.seed,
                lag_limit_s=settings.real_client_lag_limit_ms / 1e3,
            )
        except VisitFailedError as error:
            failure = error.trouble.failure
            journal.add(
                Failed(
                    visit=number,
                    attempt=attempt,
                    failure=failure.value,
                    requests=error.requests,
                    tokens=error.tokens,
                )
            )
            if failure in HOPELESS or again == ATTEMPTS - 1:
                raise _error(failure, plan, kept=len(progress.complete)) from None
            await asyncio.sleep(_pause_s(error.trouble, again))
        else:
            journal.add(ended)
            return


def _pause_s(trouble: Trouble, again: int) -> float:
    asked_s = trouble.retry_after_s
    return min(PAUSE_S * 2**again if asked_s is None else asked_s, LONGEST_PAUSE_S)


def _is_affordable(progress: Progress, budget: Budget, number: int) -> bool:
    spent, cost = progress.spent, cost_of(progress.plan.visits[number])
    return (
        spent.requests + cost.requests <= budget.requests
        and spent.tokens + cost.tokens <= budget.tokens
    )


def _check_budget(progress: Progress, budget: Budget, cost: Spent) -> None:
    spent, kept = progress.spent, len(progress.complete)
    needed = Spent(spent.requests + cost.requests, spent.tokens + cost.tokens)
    for name in ("requests", "tokens"):
        most, need = getattr(budget, name), getattr(needed, name)
        if need > most:
            raise ServerFailedError(
                f"--max-{name} {most} is spent: {getattr(spent, name)} were, the next visit needs "
                f"{getattr(cost, name)}; {_kept(progress.plan, kept)}"
            )


_TOLD: Final = {
    Failure.UNAUTHORIZED: "refuses the key; --key-from VARIABLE names the one that holds it",
    Failure.UNKNOWN_MODEL: "does not know the model, or not the route; --api chat is another",
    Failure.CONTEXT_TOO_LONG: "says that a request is too long; --longest-prompt makes it shorter",
    Failure.BAD_REQUEST: "refuses the request; --api chat asks in another way",
    Failure.TIMEOUT: "did not answer in time; --timeout-s allows more",
    Failure.CONNECTION: "does not answer",
    Failure.RATE_LIMITED: "limits the rate (429): under a limit there is nothing to measure",
    Failure.OVERLOADED: "says that it is overloaded (503)",
    Failure.QUOTA_EXHAUSTED: "says that the quota is spent (429)",
    Failure.CUT_STREAM: "cut streams off before their end",
    Failure.MALFORMED: "sent something that is not of this protocol",
    Failure.SERVER_ERROR: "answered with a server error (5xx)",
}


def _error(failure: Failure, plan: Plan, *, kept: int = 0) -> LLMServeError:
    told = _TOLD.get(failure, f"failed ({failure.value})")
    message = f"{plan.server} ({plan.model}) {told}; {_kept(plan, kept)}"
    return InvalidInputError(message) if failure in HOPELESS else ServerFailedError(message)


def _kept(plan: Plan, kept: int) -> str:
    return f"{kept} of {len(plan.visits)} visits are measured and kept"
