"""Clients that ask a vLLM one request after another, and what they and the server saw of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from server.real_client import RealClient, RequestFailedError
from server.real_clock import LagWatch
from server.real_prompts import PromptScale, make_prompt
from server.real_vllm_metrics import MetricsSpan, MetricsWatch
from simulator.rng import stream

MS_PER_S: Final = 1e3
WARM_UP_S: Final = 2.0
PAUSE_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """Clients that do the same.

    Attributes:
        count: How many.
        prompt_tokens: Of every request, about.
        output_tokens: Of every request.
        priority: 0 goes first.
        gap_s: Between an answer and the next question.
    """

    count: int
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    gap_s: float = 0.0


@dataclass(slots=True)
class Seen:
    """What the clients of a group saw; owned by the run.

    Attributes:
        ttft_s: Of requests sent after the warm-up.
        tpot_s: (last - first output) / (tokens - 1) of those that ended in time.
        gap_s: Between successive outputs.
        tokens: That came after the warm-up.
        failures: Requests without a complete answer.
    """

    ttft_s: list[float] = field(default_factory=list)
    tpot_s: list[float] = field(default_factory=list)
    gap_s: list[float] = field(default_factory=list)
    tokens: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is over: what every group saw, what the server told, the client's own lag."""

    seen: tuple[Seen, ...]
    span: MetricsSpan
    duration_s: float
    lag_s: float


async def run_clients(
    client: RealClient,
    watch: MetricsWatch,
    scale: PromptScale,
    groups: Sequence[ClientGroup],
    *,
    duration_s: float,
    seed: int,
) -> Run:
    """Let the groups ask for a while; the first WARM_UP_S are not counted.

    Raises:
        RuntimeError: If the server tells no metrics.
    """
    seen = tuple(Seen() for _ in groups)
    counted_s = time.monotonic() + WARM_UP_S
    numbers = itertools.count()
    clients = [
        asyncio.create_task(
            _ask_on(client, scale, group, each, counted_s=counted_s, seed=(seed, next(numbers)))
        )
        for group, each in zip(groups, seen, strict=True)
        for _ in range(group.count)
    ]
    await asyncio.sleep(WARM_UP_S)
    await watch.take_span()
    lag = LagWatch()
    lag.start()
    await asyncio.sleep(duration_s)
    lag_s = lag.stop()
    span = await watch.take_span()
    for task in clients:
        task.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await asyncio.sleep(PAUSE_S)  # the server drops what was cut
    if span is None:
        raise RuntimeError(f"{watch.shown_url}/metrics tells nothing")
    return Run(seen, span, duration_s, lag_s)


async def _ask_on(
    client: RealClient,
    scale: PromptScale,
    group: ClientGroup,
    seen: Seen,
    *,
    counted_s: float,
    seed: tuple[int, int],
) -> None:
    rng = stream(seed[0], f"vllm_load/client/{seed[1]}")
    while True:
        request = _Timed(seen, counted_s)
        prompt = make_prompt(scale.words(group.prompt_tokens), rng)
        try:
            await client.generate(
                prompt, group.output_tokens, request.note, priority=group.priority
            )
            request.end(group.output_tokens)
        except RequestFailedError:
            seen.failures += 1
            await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(group.gap_s)


class _Timed:
    """The times of one request."""

    def __init__(self, seen: Seen, counted_s: float) -> None:
        self._seen, self._counted_s = seen, counted_s
        self._sent_s = time.monotonic()
        self._first_s = self._last_s = 0.0

    def note(self, tokens: int) -> None:
        now_s = time.monotonic()
        if self._first_s == 0.0:
            self._first_s = now_s
            if self._sent_s >= self._counted_s:
                self._seen.ttft_s.append(now_s - self._sent_s)
        elif now_s >= self._counted_s:
            self._seen.gap_s.append(now_s - self._last_s)
        if now_s >= self._counted_s:
            self._seen.tokens += tokens
        self._last_s = now_s

    def end(self, tokens: int) -> None:
        if self._last_s >= self._counted_s and tokens > 1:
            self._seen.tpot_s.append((self._last_s - self._first_s) / (tokens - 1))


def summary(run: Run) -> dict[str, Any]:
    """The figures of a run, over all groups and by group where there are several."""
    pooled = Seen(
        ttft_s=[value for each in run.seen for value in each.ttft_s],
        tpot_s=[value for each in run.seen for value in each.tpot_s],
        gap_s=[value for each in run.seen for value in each.gap_s],
        tokens=sum(each.tokens for each in run.seen),
        failures=sum(each.failures for each in run.seen),
    )
    span = run.span
    figures: dict[str, Any] = _figures(pooled, run.duration_s) | {
        "running_mean": span.running,
        "waiting_mean": span.waiting,
        "kv_usage_fraction": span.kv_usage_fraction,
        "preemptions": span.preemptions,
        "draft_tokens": span.draft_tokens,
        "accepted_tokens": span.accepted_tokens,
        "client_lag_ms": run.lag_s * MS_PER_S,
    }
    if len(run.seen) > 1:
        figures["groups"] = [_figures(each, run.duration_s) for each in run.seen]
    return figures


def _figures(seen: Seen, duration_s: float) -> dict[str, float]:
    return {
        "ttft_mean_ms": _ms(np.mean, seen.ttft_s),
        "ttft_p50_ms": _ms(np.median, seen.ttft_s),
        "tpot_p50_ms": _ms(np.median, seen.tpot_s),
        "itl_p50_ms": _ms(np.median, seen.gap_s),
        "itl_p99_ms": _ms(lambda values: np.percentile(values, 99), seen.gap_s),
        "output_tps": seen.tokens / duration_s,
        "requests": len(seen.ttft_s),
        "failures": seen.failures,
    }


def _ms(statistic: Any, values: list[float]) -> float:
    return float(statistic(values)) * MS_PER_S if values else float("nan")
