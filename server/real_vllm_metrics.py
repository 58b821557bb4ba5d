"""Reads vLLM's Prometheus metrics several times a second and says what a span of time brought.

Knows nothing of episodes: `MetricsWatch` can follow any vLLM server. Gauges are averaged, because
they jump from step to step; counters are compared.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from server.real_settings import shown_url

POLL_S: Final = 0.5
TIMEOUT_S: Final = 2.0
PATH: Final = "/metrics"
_COUNTERS: Final = {
    "vllm:num_preemptions": "preemptions",
    "vllm:generation_tokens": "generation_tokens",
    "vllm:prompt_tokens": "prompt_tokens",
    "vllm:spec_decode_num_draft_tokens": "draft_tokens",
    "vllm:spec_decode_num_accepted_tokens": "accepted_tokens",
}
_GAUGES: Final = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:kv_cache_usage_perc": "kv_usage_fraction",
}
_NAMES: Final = (*_COUNTERS, *_GAUGES)


@dataclass(frozen=True, slots=True)
class MetricsSample:
    """One reading; counters count from the server's start. NaN: the server does not tell.

    Attributes:
        at_s: When it was read, by time.monotonic.
        running: Requests that run.
        waiting: Requests in the server's queue.
        kv_usage_fraction: Share of the KV cache's blocks in use.
        preemptions: Requests that lost their blocks and start again.
        generation_tokens: Given out.
        prompt_tokens: Taken in.
        draft_tokens: Proposed by speculation.
        accepted_tokens: Of those, taken.
    """

    at_s: float
    running: float = math.nan
    waiting: float = math.nan
    kv_usage_fraction: float = math.nan
    preemptions: float = math.nan
    generation_tokens: float = math.nan
    prompt_tokens: float = math.nan
    draft_tokens: float = math.nan
    accepted_tokens: float = math.nan


@dataclass(frozen=True, slots=True)
class MetricsSpan:
    """What the readings of a span of time amount to. NaN: not told.

    Attributes:
        samples: Readings in it.
        duration_s: Between the readings that the counters compare.
        running, waiting, kv_usage_fraction: Means.
        waiting_share: Share of the readings at which somebody waited.
        waiting_last, running_last: The last reading.
        preemptions, generation_tokens, prompt_tokens, draft_tokens, accepted_tokens: In the span.
    """

    samples: int
    duration_s: float
    running: float
    waiting: float
    kv_usage_fraction: float
    waiting_share: float
    running_last: float
    waiting_last: float
    preemptions: float
    generation_tokens: float
    prompt_tokens: float
    draft_tokens: float
    accepted_tokens: float

    @property
    def acceptance_fraction(self) -> float:
        """Accepted draft tokens over proposed ones; NaN if none was proposed."""
        return self.accepted_tokens / self.draft_tokens if self.draft_tokens > 0 else math.nan


def parse_metrics(text: str, *, at_s: float) -> MetricsSample:
    """A reading from the text of /metrics, summed over engines and labels.

    Raises:
        ValueError: If it is not Prometheus's format, or not vLLM's metrics.
    """
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(_relevant(text)):
        name = _GAUGES.get(family.name) or _COUNTERS.get(family.name)
        if name is not None:
            numbers = [s.value for s in family.samples if not s.name.endswith("_created")]
            values[name] = math.fsum(numbers)
    if "running" not in values:
        raise ValueError("there is no vllm:num_requests_running among the metrics")
    return MetricsSample(at_s, **values)


def span_of(before: MetricsSample, within: list[MetricsSample]) -> MetricsSpan:
    """What happened from the reading `before` to the last of those `within`, at least one.

    A counter below its earlier value says that the server was started anew: then it counts from 0.
    """
    last = within[-1]
    means = {
        name: math.fsum(getattr(sample, name) for sample in within) / len(within)
        for name in _GAUGES.values()
    }
    grown = {
        name: _growth(getattr(before, name), getattr(last, name)) for name in _COUNTERS.values()
    }
    return MetricsSpan(
        samples=len(within),
        duration_s=last.at_s - before.at_s,
        waiting_share=sum(sample.waiting > 0 for sample in within) / len(within),
        running_last=last.running,
        waiting_last=last.waiting,
        **means,
        **grown,
    )


class MetricsWatch:
    """Polls one server from `start` to `close`; belongs on one event loop."""

    def __init__(self, base_url: str) -> None:
        """Follow the server whose API is at `base_url`, such as http://127.0.0.1:8000/v1."""
        root = base_url.rstrip("/").removesuffix("/v1")
        self.shown_url = shown_url(root)
        self._client = httpx.AsyncClient(base_url=root, timeout=TIMEOUT_S, trust_env=False)
        self._before: MetricsSample | None = None
        self._samples: list[MetricsSample] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Poll from now on; what was read before is forgotten."""
        await self.stop()
        self._before, self._samples = None, []
        self._task = asyncio.create_task(self._poll())

    async def read(self) -> MetricsSample | None:
        """One reading now, kept for the span; None if the server does not answer with metrics."""
        try:
            response = await self._client.get(PATH)
            response.raise_for_status()
            sample = parse_metrics(response.text, at_s=time.monotonic())
        except (httpx.HTTPError, ValueError):
            return None
        self._samples.append(sample)
        return sample

    async def take_span(self) -> MetricsSpan | None:
        """What happened since the last call, or since the first reading; None if nobody told.

        Reads once more first, so that a span ends where it is taken.
        """
        is_told = await self.read() is not None
        samples, self._samples = self._samples, []
        if not is_told:
            self._before = None  # the server may be another one when it is back
            return None
        before = samples[0] if self._before is None else self._before
        self._before = samples[-1]
        return span_of(before, samples)

    async def stop(self) -> None:
        """Poll no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def close(self) -> None:
        """Stop, and close the connection."""
        await self.stop()
        await self._client.aclose()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self.read()


def _relevant(text: str) -> str:
    """The lines about these metrics: parsing all 50 kB holds an event loop up for 15 ms."""
    lines = [
        line
        for line in text.splitlines(keepends=True)
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(_NAMES)
    ]
    return "".join(lines)


def _growth(before: float, after: float) -> float:
    return after if after < before else after - before
