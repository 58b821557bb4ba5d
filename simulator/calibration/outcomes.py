"""What became of the requests of a load, measured or simulated, and the figures that say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.calibration.records import Answered
from simulator.records import FloatArray

MS_PER_S: Final = 1e3
# Name of a figure and what it is called on pages.
FIGURES: Final = {
    "ttft_p50_ms": "TTFT p50",
    "ttft_mean_ms": "TTFT mean",
    "ttft_p99_ms": "TTFT p99",
    "tpot_p50_ms": "TPOT p50",
    "tpot_mean_ms": "TPOT mean",
    "itl_p50_ms": "ITL p50",
    "itl_p99_ms": "ITL p99",
    "output_tps": "output tokens/s",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests of a load.

    Attributes:
        ttft_s: (requests,) float64, from sending to the first output.
        tpot_s: (requests,) float64, (last - first output) / (tokens - 1); NaN of a single token.
        gap_s: (gaps,) float64, between successive outputs, of all requests; may be left empty.
        gap_tokens: (gaps,) float64, tokens that came after such a gap.
        output_tokens: Of all requests.
        duration_s: From the first sending to the last output.
    """

    ttft_s: FloatArray
    tpot_s: FloatArray
    gap_s: FloatArray
    gap_tokens: FloatArray
    output_tokens: int
    duration_s: float

    @property
    def log_ttft(self) -> float:
        """Mean logarithm of the TTFT in seconds: smooth, and little moved by a single straggler."""
        return float(np.log(self.ttft_s).mean())

    @property
    def log_tpot(self) -> float:
        """The same of the TPOT; NaN if every answer is a single token."""
        later = self.tpot_s[np.isfinite(self.tpot_s)]
        return float(np.log(later).mean()) if len(later) else float("nan")

    def figures(self) -> dict[str, float]:
        """The figures that are compared, by the names in FIGURES; those without samples left out.

        Percentiles of requests are numpy's; those of gaps are weighted by tokens.
        """
        tpot_s = self.tpot_s[np.isfinite(self.tpot_s)]
        found = {
            "ttft_p50_ms": MS_PER_S * float(np.percentile(self.ttft_s, 50)),
            "ttft_mean_ms": MS_PER_S * float(self.ttft_s.mean()),
            "ttft_p99_ms": MS_PER_S * float(np.percentile(self.ttft_s, 99)),
            "output_tps": self.output_tokens / self.duration_s,
        }
        if len(tpot_s):
            found["tpot_p50_ms"] = MS_PER_S * float(np.percentile(tpot_s, 50))
            found["tpot_mean_ms"] = MS_PER_S * float(tpot_s.mean())
        if len(self.gap_s):
            for name, share in (("itl_p50_ms", 0.5), ("itl_p99_ms", 0.99)):
                gap_s = weighted_quantile(self.gap_s, self.gap_tokens, share)
                found[name] = MS_PER_S * gap_s
        return {name: found[name] for name in FIGURES if name in found}


def measured_outcome(answers: Sequence[Answered]) -> Outcome:
    """The outcome of a visit on the real server; at least one answer."""
    gaps = [np.diff(each.output_s) for each in answers]
    tokens = [np.ones(len(gap)) for gap in gaps]
    for index, each in enumerate(answers):
        if each.output_tokens_each is not None:
            tokens[index] = np.array(each.output_tokens_each[1:], np.float64)
    return Outcome(
        ttft_s=np.array([each.output_s[0] for each in answers]),
        tpot_s=np.array([_tpot_s(each) for each in answers]),
        gap_s=np.concatenate(gaps),
        gap_tokens=np.concatenate(tokens),
        output_tokens=sum(each.output_tokens for each in answers),
        duration_s=max(each.sent_s + each.output_s[-1] for each in answers),
    )


def _tpot_s(answer: Answered) -> float:
    if answer.output_tokens == 1:
        return float("nan")
    return (answer.output_s[-1] - answer.output_s[0]) / (answer.output_tokens - 1)


def weighted_quantile(values: FloatArray, weights: FloatArray, share: float) -> float:
    """The smallest value at or below which at least this share of the weight lies."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])
