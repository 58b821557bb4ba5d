"""The windows of an episode -> what an operator would ask about it, in eight numbers.

Every number is made of what observations carry, so that it means the same in process, over the wire
and on a real server:

- mean reward: mean of the windows' rewards, the raw score of a whole episode.
- SLO met: of all requests decided (finished, dropped, rejected), the share that met its TTFT and
  ITL objectives.
- p99 TTFT, p99 ITL: as a dashboard shows them. The 99th percentile over the last 10 windows,
  averaged over the windows that have one; no percentile of the whole episode, which observations do
  not tell.
- tokens/s: output tokens over the time played.
- $ per 1k: all US dollars spent over all output tokens, times 1000.
- peak memory: the most GPU memory in use at the end of a window, all GPUs: weights, activations and
  KV blocks in use. What is reserved for KV and lies idle does not count.

A number is None where nothing was measured that it could be made of. Several episodes are summed up
by the mean of each number over the episodes that have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Final

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeObservation


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """An episode in eight numbers, or the means of several; the module says what each is."""

    windows: float
    mean_reward: float
    slo_met_fraction: float | None
    p99_ttft_ms: float | None
    p99_itl_ms: float | None
    throughput_tps: float
    cost_usd_per_1k_tokens: float | None
    peak_memory_used_gb: float | None


@dataclass(frozen=True, slots=True)
class Column:
    """How one number of a summary is shown.

    Attributes:
        name: Field of EpisodeSummary.
        heading: Of its column, its unit included.
        form: Format specification of the number.
        explanation: What it is, for a tooltip or a legend.
    """

    name: str
    heading: str
    form: str
    explanation: str

    def text(self, summary: EpisodeSummary) -> str:
        """The number as it is shown; a dash where there is none."""
        value = getattr(summary, self.name)
        return "-" if value is None else format(value, self.form)


COLUMNS: Final = (
    Column("mean_reward", "mean reward", "+.3f", "Mean reward of a window, in [-1, 1]."),
    Column("slo_met_fraction", "SLO met", ".1%", "Share of the requests that met their SLO."),
    Column("p99_ttft_ms", "p99 TTFT ms", ",.0f", "99th percentile over 10 windows, averaged."),
    Column("p99_itl_ms", "p99 ITL ms", ",.1f", "99th percentile over 10 windows, averaged."),
    Column("throughput_tps", "tokens/s", ",.0f", "Output tokens per second."),
    Column("cost_usd_per_1k_tokens", "$ per 1k", ".6f", "US dollars per 1000 output tokens."),
    Column("peak_memory_used_gb", "peak GB", ".1f", "Most GPU memory in use, 10^9 bytes."),
)


class SummaryTally:
    """Adds up the windows of one episode; `play_episode(on_window=tally.add)` feeds it."""

    def __init__(self, window_s: float) -> None:
        """Take the length of a window; nothing is played yet.

        Raises:
            InvalidInputError: If it is no positive number.
        """
        if not 0.0 < window_s < math.inf:
            raise InvalidInputError(f"window_s must be positive and finite, got {window_s}")
        self._window_s = window_s
        self._rewards: list[float] = []
        self._tps: list[float] = []
        self._ttft_ms: list[float] = []
        self._itl_ms: list[float] = []
        self._memory_gb: list[float] = []
        self._cost_usd: float | None = None
        self._decided = 0
        self._met: list[float] = []

    def add(self, observation: ServeObservation) -> None:
        """Count in what was observed after one window."""
        self._rewards.append(observation.reward or 0.0)
        self._tps.append(observation.throughput_tps)
        _append(self._ttft_ms, observation.p99_ttft_ms)
        _append(self._itl_ms, observation.p99_itl_ms)
        # None on a real server that does not tell.
        _append(self._memory_gb, observation.gpu_memory_used_gb)
        self._cost_usd = observation.cost_so_far
        if observation.slo_compliance_rate is not None:
            self._decided += observation.slo_sample_count
            self._met.append(observation.slo_compliance_rate * observation.slo_sample_count)

    def summary(self) -> EpisodeSummary:
        """What was played so far.

        Raises:
            InvalidInputError: If that is nothing.
        """
        windows = len(self._rewards)
        if not windows:
            raise InvalidInputError("no summary of 0 windows; need 1 or more")
        tokens = math.fsum(self._tps) * self._window_s
        cost = self._cost_usd
        return EpisodeSummary(
            windows=windows,
            mean_reward=math.fsum(self._rewards) / windows,
            slo_met_fraction=math.fsum(self._met) / self._decided if self._decided else None,
            p99_ttft_ms=_mean(self._ttft_ms),
            p99_itl_ms=_mean(self._itl_ms),
            throughput_tps=math.fsum(self._tps) / windows,
            cost_usd_per_1k_tokens=None if cost is None or not tokens else 1000 * cost / tokens,
            peak_memory_used_gb=max(self._memory_gb, default=None),
        )


def summarise_windows(windows: Iterable[ServeObservation], *, window_s: float) -> EpisodeSummary:
    """The summary of these windows of one episode, in order, the one at reset left out.

    Raises:
        InvalidInputError: If there are none, or a window has no length.
    """
    tally = SummaryTally(window_s)
    for observation in windows:
        tally.add(observation)
    return tally.summary()


def mean_summary(summaries: Sequence[EpisodeSummary]) -> EpisodeSummary:
    """The mean of each number over the episodes that have it.

    Raises:
        InvalidInputError: If there is no episode.
    """
    if not summaries:
        raise InvalidInputError("there is no mean over 0 episodes; need 1 or more")
    means = {}
    for field in fields(EpisodeSummary):
        values = [getattr(summary, field.name) for summary in summaries]
        means[field.name] = _mean([value for value in values if value is not None])
    return EpisodeSummary(**means)  # type: ignore[arg-type]  # None only where all are


def _append(values: list[float], value: float | None) -> None:
    if value is not None:
        values.append(value)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
