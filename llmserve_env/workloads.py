"""How traffic is described: arrival families, length distributions, streams and their regimes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Tokens = Annotated[int, Field(ge=1)]
Duration = Annotated[float, Field(ge=0.1, description="Seconds.")]

# Below this the parameters of the beta distribution leave the range of a float.
MIN_SPREAD = 0.001


class Spec(BaseModel):
    """Frozen, closed to unknown fields, and free of NaN and Infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _check_range(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low {low} is above high {high}")


class Constant(Spec):
    """Every draw is the same."""

    kind: Literal["constant"] = "constant"
    tokens: Tokens


class Uniform(Spec):
    """Integers from low to high, both included."""

    kind: Literal["uniform"] = "uniform"
    low: Tokens
    high: Tokens

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high)
        return self


class LogNormal(Spec):
    """exp(N(mu, sigma)) rounded and clamped to [low, high], as the traces' own servers do."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float
    sigma: Positive
    low: Tokens = 1
    high: Tokens

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.low, self.high)
        return self


class Quantiles(Spec):
    """Inverse distribution function by geometric interpolation between measured quantiles.

    Token counts spread over decades: between quantiles the logarithm is interpolated, which
    reproduces the measured means better than a straight line does (the tail's last step is long).
    """

    kind: Literal["quantiles"] = "quantiles"
    levels: tuple[float, ...]
    values: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Self:
        levels, values = self.levels, self.values
        if len(levels) != len(values) or len(levels) < 2:
            raise ValueError("levels and values need the same length, at least 2")
        if levels[0] != 0.0 or levels[-1] != 1.0:
            raise ValueError("levels must run from 0 to 1")
        if list(levels) != sorted(set(levels)) or list(values) != sorted(values):
            raise ValueError("levels must rise strictly and values must not fall")
        if values[0] < 1.0:
            raise ValueError("values are token counts and must be at least 1")
        return self


class MixturePart(Spec):
    """One component of a mixture and its weight."""

    weight: Positive
    lengths: Annotated[Constant | Uniform | LogNormal | Quantiles, Field(discriminator="kind")]


class Mixture(Spec):
    """Bimodal and other mixtures: a part is drawn by weight, then a length from it.

    With a prompt-output correlation, list the parts from short to long: correlation acts on
    their order.
    """

    kind: Literal["mixture"] = "mixture"
    parts: tuple[MixturePart, ...] = Field(min_length=2)


Lengths = Annotated[
    Constant | Uniform | LogNormal | Quantiles | Mixture, Field(discriminator="kind")
]


class Poisson(Spec):
    """Memoryless arrivals at a fixed rate."""

    family: Literal["poisson"] = "poisson"
    rate_rps: Positive


class CoxLogOU(Spec):
    """Poisson given a rate whose logarithm is an Ornstein-Uhlenbeck process (user chat)."""

    family: Literal["cox_log_ou"] = "cox_log_ou"
    rate_rps: Positive
    sigma_log_rate: NonNegative
    tau_s: Duration


class MMPP(Spec):
    """Poisson given a rate that follows a Markov chain over steps (code, API and agent traffic)."""

    family: Literal["mmpp"] = "mmpp"
    step_s: Duration = 1.0
    rates_rps: tuple[NonNegative, ...] = Field(min_length=1)
    transitions: tuple[tuple[NonNegative, ...], ...]

    @model_validator(mode="after")
    def _rows_are_distributions(self) -> Self:
        count = len(self.rates_rps)
        if len(self.transitions) != count or any(len(row) != count for row in self.transitions):
            raise ValueError(f"transitions must be {count} rows of {count}")
        if any(abs(sum(row) - 1.0) > 0.01 for row in self.transitions):
            raise ValueError("every row of transitions must add up to 1 within 0.01")
        return self


class NHPP(Spec):
    """Poisson with a repeating rate profile times a lognormal factor per cycle (days).

    An episode starts at a random point of the cycle. The factor has mean 1.
    """

    family: Literal["nhpp"] = "nhpp"
    rate_rps: Positive
    multipliers: tuple[NonNegative, ...] = Field(min_length=1)
    segment_s: Duration = 3600.0
    cycle_log_sigma: NonNegative = 0.0


class Bursts(Spec):
    """A base rate, and bursts on top of it whose start times are random around a mean period.

    During a burst the rate is `rate_rps + burst_rate_rps`. Gaps between starts are uniform in
    `period_s * (1 -+ period_jitter_fraction)`; bursts may not overlap.
    """

    family: Literal["bursts"] = "bursts"
    rate_rps: NonNegative
    burst_rate_rps: Positive
    burst_s: Duration
    period_s: Duration
    period_jitter_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5

    @model_validator(mode="after")
    def _bursts_do_not_overlap(self) -> Self:
        shortest_gap_s = self.period_s * (1.0 - self.period_jitter_fraction)
        if self.burst_s > shortest_gap_s:
            raise ValueError(
                f"burst_s {self.burst_s} is above the shortest gap between starts, {shortest_gap_s}"
            )
        return self


class ClientSuperposition(Spec):
    """Renewal clients of unequal, slowly changing rates added up (ServeGen, arXiv:2505.09999).

    Client i has a share of the rate proportional to `(i + 1) ** -rate_skew`, times a lognormal
    factor of mean 1 that is drawn anew every `epoch_s`.
    """

    family: Literal["client_superposition"] = "client_superposition"
    rate_rps: Positive
    clients: int = Field(ge=1, le=10_000)
    rate_skew: NonNegative = 1.0
    interarrival_cv: Annotated[float, Field(ge=0.05, le=20.0)] = 1.0
    interarrival_family: Literal["gamma", "weibull"] = "gamma"
    epoch_s: Duration = 600.0
    epoch_log_sigma: NonNegative = 0.0


class Replay(Spec):
    """Rows of a recorded parquet trace from a random offset; its lengths and classes are used.

    `rate_scale` times the load level and the regime's multiplier may reach 4, never more: beyond
    that a warped clock no longer resembles the trace. `keep_fraction` of the requests are kept,
    drawn at random. With `by_split` the seeds of a split play a stretch of their own.
    """

    family: Literal["replay"] = "replay"
    path: str
    rate_scale: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    keep_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    by_split: bool = False


Arrivals = Annotated[
    Poisson | CoxLogOU | MMPP | NHPP | Bursts | ClientSuperposition | Replay,
    Field(discriminator="family"),
]


class Acceptance(Spec):
    """Draft-token acceptance: position j (from 0) is accepted with a1 * ratio^j.

    Each request draws its own a1 from a beta distribution around `first` with this spread.
    """

    first: Annotated[float, Field(ge=0.0, le=1.0)]
    ratio: Annotated[float, Field(gt=0.0, le=2.0)]
    spread: Annotated[float, Field(ge=0.0, le=0.25)] = 0.1

    @model_validator(mode="after")
    def _beta_exists(self) -> Self:
        if 0.0 < self.spread < MIN_SPREAD:
            raise ValueError(f"spread must be 0 or at least {MIN_SPREAD}, got {self.spread}")
        if self.spread > 0.0 and self.spread**2 >= self.first * (1.0 - self.first):
            raise ValueError(f"no beta distribution has mean {self.first} and sd {self.spread}")
        return self


def _check_shares(shares: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"priority_shares must add up to 1, got {shares}")
    return shares


PriorityShares = Annotated[
    tuple[NonNegative, NonNegative, NonNegative], AfterValidator(_check_shares)
]


class Stream(Spec):
    """One tenant: its arrivals, lengths, priority class and draft acceptance.

    `prompt` and `output` are left out only with a replay, which brings its own.
    """

    name: str = Field(min_length=1)
    priority_shares: PriorityShares = (0.0, 1.0, 0.0)
    arrivals: Arrivals
    prompt: Lengths | None = None
    output: Lengths | None = None
    prompt_output_correlation: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    acceptance: Acceptance

    @model_validator(mode="after")
    def _has_lengths(self) -> Self:
        given = (self.prompt is not None, self.output is not None)
        if isinstance(self.arrivals, Replay) and any(given):
            raise ValueError(f"stream {self.name!r} replays a trace, which brings its own lengths")
        if not isinstance(self.arrivals, Replay) and not all(given):
            raise ValueError(f"stream {self.name!r} needs prompt and output lengths")
        return self


class PresetStream(Spec):
    """One tenant with the arrivals, lengths and acceptance of a fitted real workload.

    Attributes:
        name: Of the tenant.
        priority_shares: Of the classes; recordings have none.
        preset: One of simulator.presets.preset_names().
        rate_rps: Mean rate; all rates of the fit are multiplied alike, which keeps its shape.
    """

    name: str = Field(min_length=1)
    priority_shares: PriorityShares = (0.0, 1.0, 0.0)
    preset: str = Field(min_length=1)
    rate_rps: Positive


def _kind_of_stream(stream: object) -> str:
    is_preset = "preset" in stream if isinstance(stream, Mapping) else hasattr(stream, "preset")
    return "preset" if is_preset else "stream"


AnyStream = Annotated[
    Annotated[Stream, Tag("stream")] | Annotated[PresetStream, Tag("preset")],
    Discriminator(_kind_of_stream),
]


class Regimes(Spec):
    """Hidden states that multiply the rate of each stream and change at random times.

    `rate_multipliers[state][stream]`; a new state, never the present one, is drawn uniformly
    after a dwell time uniform in [dwell_low_s, dwell_high_s].
    """

    dwell_low_s: Duration
    dwell_high_s: Duration
    rate_multipliers: tuple[tuple[NonNegative, ...], ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        _check_range(self.dwell_low_s, self.dwell_high_s)
        return self


class WorkloadSpec(Spec):
    """The traffic of a task: streams added up, times a load level drawn once per episode."""

    load_low: Positive = 1.0
    load_high: Positive = 1.0
    streams: tuple[AnyStream, ...] = Field(min_length=1)
    regimes: Regimes | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.load_low > self.load_high:
            raise ValueError(f"load_low {self.load_low} is above load_high {self.load_high}")
        if self.regimes is not None and any(
            len(row) != len(self.streams) for row in self.regimes.rate_multipliers
        ):
            raise ValueError("every row of rate_multipliers needs one entry per stream")
        names = [stream.name for stream in self.streams]
        if len(set(names)) != len(names):
            raise ValueError(f"stream names must differ, got {names}")
        return self
