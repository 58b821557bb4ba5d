"""Reads all that vLLM's /metrics page says to a policy: one reading at the end of every window."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from llmserve_env.errors import LLMServeError
from server.autopilot.histograms import Histogram, histogram_of
from server.real_settings import shown_url
from server.real_vllm_metrics import MetricsSample, parse_metrics

TIMEOUT_S: Final = 2.0
TTFT: Final = "vllm:time_to_first_token_seconds"
ITL: Final = "vllm:inter_token_latency_seconds"
PROMPT_TOKENS: Final = "vllm:request_prompt_tokens"
HISTOGRAMS: Final = (TTFT, ITL, PROMPT_TOKENS)
FINISHED: Final = "vllm:request_success"
GIVEN_UP: Final = "abort"


class NoMetricsError(LLMServeError):
    """A server did not answer with vLLM's metrics."""

    http_status = 502
    code = "NO_METRICS"


@dataclass(frozen=True, slots=True)
class Reading:
    """One page of metrics; counters count from the server's start.

    Attributes:
        sample: Gauges and counters.
        finished: Requests that ended, by vLLM's reason.
        histograms: By name, those of HISTOGRAMS that the page has.
    """

    sample: MetricsSample
    finished: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)

    @property
    def in_system(self) -> float:
        """Requests that run or wait."""
        return self.sample.running + self.sample.waiting

    @property
    def ended(self) -> float:
        """Requests that ended since the start, for whatever reason."""
        return math.fsum(self.finished.values())


def parse_reading(text: str, *, at_s: float) -> Reading:
    """A reading from a page's text.

    Raises:
        ValueError: If it is not Prometheus's format, or not vLLM's metrics.
    """
    sample = parse_metrics(text, at_s=at_s)
    finished: dict[str, float] = {}
    histograms: dict[str, Histogram] = {}
    for family in text_string_to_metric_families(text):
        if family.name == FINISHED:
            for entry in family.samples:
                if not entry.name.endswith("_created"):
                    reason = entry.labels.get("finished_reason", "")
                    finished[reason] = finished.get(reason, 0.0) + entry.value
        elif family.name in HISTOGRAMS:
            found = histogram_of(family.samples, family.name)
            if found is not None:
                histograms[family.name] = found
    return Reading(sample, finished, histograms)


class MetricsPage:
    """The /metrics page of one server."""

    def __init__(self, url: str) -> None:
        """Read the page of the server at `url`, such as http://127.0.0.1:8000."""
        root = url.rstrip("/").removesuffix("/v1")
        self.shown_url = shown_url(root)
        # Proxies of the environment are for the world outside.
        self._client = httpx.AsyncClient(base_url=root, timeout=TIMEOUT_S, trust_env=False)

    async def read(self) -> Reading:
        """The page as it is now.

        Raises:
            NoMetricsError: If the server does not answer with vLLM's metrics.
        """
        where = f"{self.shown_url}/metrics"
        try:
            response = await self._client.get("/metrics")
            response.raise_for_status()
            return parse_reading(response.text, at_s=time.monotonic())
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            raise NoMetricsError(f"{where} answered with status {code}") from None
        except httpx.HTTPError as error:
            raise NoMetricsError(f"{where}: no answer ({type(error).__name__})") from None
        except ValueError as error:
            raise NoMetricsError(f"{where} is no vLLM's: {error}") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
