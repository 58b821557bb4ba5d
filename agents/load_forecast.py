"""What may be said of the load to come from the load seen so far, and how far that was off."""

from __future__ import annotations

from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agents.load_estimate import LoadEstimate
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier, RealObservation, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment

MAX_HORIZON_WINDOWS: Final = 50
# Weight of the newest window in the average that is carried forward.
NEWEST_SHARE: Final = 0.2
# Quantiles of the errors so far between which four in five of them lie.
LOW_QUANTILE, HIGH_QUANTILE = 0.1, 0.9
# Fewer errors than this say nothing about the next one.
LEAST_ERRORS: Final = 10


class TierLoad(BaseModel):
    """The load as one quantization tier would carry it."""

    model_config = ConfigDict(frozen=True)

    offered_fraction: float = Field(
        description="Expected work per second over what all GPUs can do in this tier; above 1 the "
        "queue grows whatever the knobs are."
    )
    backlog_s: float = Field(description="Seconds that all GPUs need for what waits now.")


class LoadForecast(BaseModel):
    """The load expected over the next windows, from the windows seen and nothing else."""

    model_config = ConfigDict(frozen=True)

    windows_seen: int = Field(description="Windows behind the forecast.")
    horizon_windows: int = Field(description="Windows that it is for.")
    expected_rps: float | None = Field(
        description="Mean requests per second expected; None before the first window."
    )
    low_rps: float | None = Field(
        description="With high_rps the band in which this forecast, made after earlier windows of "
        "this episode, would have been right four times in five; None while few can be judged."
    )
    high_rps: float | None = Field(description="The band's upper end.")
    prompt_tokens: float = Field(description="Mean prompt of the recent requests.")
    output_tokens: float = Field(
        description="Estimated mean output; outputs of waiting requests are unknown."
    )
    tiers: dict[QuantizationTier, TierLoad] = Field(
        description="By tier of the simulated deployment; empty on a real server."
    )
    basis: str = Field(description="How it was made, and what it cannot know.")


BASIS: Final = (
    "An average of the arrivals seen, the newest window weighing a fifth, carried forward; the "
    "band is from this forecast's own errors so far. Nothing is known of traffic to come: a change "
    "of regime shows only after it has begun."
)


class LoadHistory:
    """The arrivals of one episode so far, and forecasts from them."""

    def __init__(self, task: TaskSpec) -> None:
        """Start before the first window."""
        self._estimate = LoadEstimate(task)
        self._tiers = build_deployment(task).tiers
        self._rates_rps: list[float] = []
        self._levels_rps: list[float] = []

    def update(self, observation: ServeObservation) -> None:
        """Take in the last window; the observation of a reset is no window."""
        if observation.step_index == 0:
            return
        self._estimate.update(observation)
        if isinstance(observation, RealObservation):
            self._tiers = ()  # step times were measured on other hardware
        rate = observation.request_arrival_rate
        known = self._levels_rps[-1] if self._levels_rps else rate
        self._rates_rps.append(rate)
        self._levels_rps.append(known + NEWEST_SHARE * (rate - known))

    def forecast(self, horizon_windows: int) -> LoadForecast:
        """The load expected over the next windows.

        Raises:
            InvalidInputError: If the horizon is not from 1 to MAX_HORIZON_WINDOWS.
        """
        if not 1 <= horizon_windows <= MAX_HORIZON_WINDOWS:
            raise InvalidInputError(
                f"horizon_windows: integer from 1 to {MAX_HORIZON_WINDOWS}, got {horizon_windows}"
            )
        expected = self._levels_rps[-1] if self._levels_rps else None
        low, high = self._band(expected, horizon_windows)
        estimate = self._estimate
        prompt = estimate.mean_prompt_tokens
        return LoadForecast(
            windows_seen=len(self._rates_rps),
            horizon_windows=horizon_windows,
            expected_rps=expected,
            low_rps=low,
            high_rps=high,
            prompt_tokens=prompt,
            output_tokens=estimate.mean_output_tokens,
            tiers={
                tier: TierLoad(
                    offered_fraction=estimate.offered(tier, expected or 0.0, prompt),
                    backlog_s=estimate.queued_s(tier),
                )
                for tier in self._tiers
            },
            basis=BASIS,
        )

    def _band(self, expected: float | None, horizon: int) -> tuple[float | None, float | None]:
        """Where the mean of so many windows came to lie, against the level before them."""
        judged = len(self._rates_rps) - horizon
        if expected is None or judged < LEAST_ERRORS:
            return None, None
        sums = np.cumsum([0.0, *self._rates_rps])
        came = (sums[horizon + 1 :] - sums[1:-horizon]) / horizon
        errors = came - np.array(self._levels_rps[:judged])
        low, high = np.quantile(errors, (LOW_QUANTILE, HIGH_QUANTILE))
        return max(0.0, expected + float(low)), max(0.0, expected + float(high))
