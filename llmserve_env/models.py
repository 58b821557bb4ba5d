"""The records that cross the wire: actions, observations, state, logs, grades, with all bounds.

Every bound is written here and nowhere else: the JSON schema, the Gymnasium spaces and the error
messages are derived from these models. Out-of-range values are refused, never clamped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, StrictBool, model_validator

QuantizationTier = Literal["FP16", "INT8", "INT4"]
BindingConstraint = Literal["kv", "compute", "queue", "switching", "none"]

TIERS: tuple[QuantizationTier, ...] = ("FP16", "INT8", "INT4")
BINDING_CONSTRAINTS: tuple[BindingConstraint, ...] = ("none", "queue", "kv", "compute", "switching")
KNOBS: tuple[str, ...] = (
    "batch_cap",
    "kv_budget_fraction",
    "speculation_depth",
    "quantization_tier",
    "prefill_decode_split",
    "priority_routing",
)
CLASS_COUNT = 3
MAX_SEED = 2**63 - 1

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
RewardWeights = dict[str, Annotated[float, Field(ge=0.0, le=10.0)]]


class _Record(BaseModel):
    """Frozen, closed to unknown fields, and free of NaN and Infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ServeAction(_Record):
    """One setting of the six knobs, held for one window."""

    batch_cap: int = Field(
        strict=True,
        ge=1,
        le=512,
        description="Maximum running sequences per replica (vLLM max_num_seqs). Hot: lowering it "
        "drains down, raising it acts at once.",
    )
    kv_budget_fraction: float = Field(
        strict=True,
        ge=0.1,
        le=1.0,
        description="Share of the KV-cache pool that may be used and is paid for. Hot: what no "
        "longer fits is preempted and recomputed.",
    )
    speculation_depth: int = Field(
        strict=True,
        ge=0,
        le=8,
        description="Draft tokens proposed per decode step; 0 is off. Hot. Speeds decode at small "
        "batch, costs time at large batch.",
    )
    quantization_tier: QuantizationTier = Field(
        description="Weight precision: FP16, INT8 (W8A8) or INT4 (W4A16). Warm or cold: the engine "
        "serves nothing while it switches.",
    )
    prefill_decode_split: StrictBool = Field(
        description="False: two mixed replicas. True: one prefill and one decode replica on the "
        "same two GPUs. Warm or cold, like the tier.",
    )
    priority_routing: StrictBool = Field(
        description="False: first come, first served. True: by priority class, then arrival. Hot.",
    )


class MetricsSnapshot(_Record):
    """What was measured. Latency percentiles cover the last 10 windows, the rest the last window.

    None means that there was no sample. Latencies are in milliseconds, memory in 10^9 bytes.
    """

    queue_depth: Count = Field(description="Requests waiting at the end of the window.")
    active_requests: Count = Field(description="Requests admitted and unfinished, all replicas.")
    kv_cache_occupancy: Fraction = Field(
        description="KV blocks in use as a share of the whole pool at kv_budget_fraction 1, at the "
        "end of the window; compare it with kv_budget_fraction."
    )
    mean_prompt_length: NonNegative | None = Field(
        description="Mean prompt tokens of the requests that arrived in the window."
    )
    p50_ttft_ms: NonNegative | None = Field(description="Median time to first token, 10 windows.")
    p99_ttft_ms: NonNegative | None = Field(description="99th percentile of TTFT, 10 windows.")
    ttft_sample_count: Count = Field(description="First tokens behind the TTFT percentiles.")
    p50_itl_ms: NonNegative | None = Field(description="Median inter-token latency, 10 windows.")
    p99_itl_ms: NonNegative | None = Field(description="99th percentile of ITL, 10 windows.")
    itl_sample_count: Count = Field(description="Tokens behind the ITL percentiles.")
    throughput_tps: NonNegative = Field(description="Output tokens per second in the window.")
    goodput_tps: NonNegative = Field(
        description="Output tokens per second of requests that finished within their SLO."
    )
    slo_compliance_rate: Fraction | None = Field(
        description="Share of the requests decided in the window (finished, dropped, rejected) "
        "that met their TTFT and ITL objectives."
    )
    slo_violation_rate: tuple[Fraction | None, Fraction | None, Fraction | None] = Field(
        description="Share of decided requests that missed their SLO, per class 0, 1, 2."
    )
    slo_sample_count: Count = Field(description="Requests decided in the window.")
    overdue_requests: Count = Field(
        description="Requests still waiting for their first token past their TTFT objective."
    )
    gpu_memory_used_gb: NonNegative = Field(
        description="Weights, activations and KV blocks in use, all GPUs, end of the window."
    )
    gpu_memory_reserved_gb: NonNegative = Field(
        description="Weights, activations and KV budget reserved, all GPUs."
    )
    gpu_busy_fraction: Fraction = Field(description="Share of GPU time spent in iterations.")
    estimated_cost_per_1k: NonNegative | None = Field(
        description="US dollars per 1000 output tokens over the last 10 windows."
    )
    cost_so_far: NonNegative = Field(description="US dollars since the start of the episode.")
    request_arrival_rate: NonNegative = Field(description="Requests per second in the window.")
    priority_distribution: tuple[Fraction, Fraction, Fraction] | None = Field(
        description="Shares of classes 0, 1, 2 among the requests that arrived in the window."
    )
    spec_acceptance_rate: Fraction | None = Field(
        description="Draft tokens accepted / proposed in the window."
    )
    eviction_events: Count = Field(description="Preemptions in the window.")
    oldest_wait_ms: NonNegative = Field(
        description="Age of the oldest request waiting for its first token; 0 if none waits."
    )
    arrived_requests: Count = Field(description="Requests that arrived in the window.")
    finished_requests: Count = Field(description="Requests that finished in the window.")
    rejected_requests: Count = Field(description="Longer than the model's context; refused.")
    dropped_requests: Count = Field(description="Given up by the client or too large for the KV.")
    switch_remaining_s: NonNegative = Field(description="Seconds until a running switch ends.")
    binding_constraint: BindingConstraint = Field(
        description="What held requests back most in the window: kv, compute, queue (the batch "
        "cap), switching or none."
    )


class ServeObservation(MetricsSnapshot):
    """What a policy sees after a window: measurements, the configuration in force, the reward."""

    step_index: Count = Field(description="Windows played so far; 0 right after reset.")
    task_id: str
    config: ServeAction = Field(description="The configuration now in force.")
    reward: float | None = Field(description="Reward of the window in [-1, 1]; None at reset.")
    done: bool = Field(description="True after the last window (a truncation).")
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Reward terms by name; at reset, facts of the episode."
    )


class TermGrade(_Record):
    """One term of the reward over a whole episode; windows that were not played included."""

    mean: Fraction = Field(description="Mean of the term over the task's horizon, in [0, 1].")
    weight: NonNegative = Field(description="The task's weight of the term.")
    contribution: float = Field(
        description="What the term adds to the raw score; penalties take away."
    )
    best_constant: float = Field(
        description="What it adds for the best constant setting on the same traffic."
    )


class Anchors(_Record):
    """Raw scores to compare with, on the episode's own traffic.

    The best constant setting is replayed on it; the others lie as far from it as they do on average
    over the test seeds.
    """

    random: float
    vllm_default: float
    best_constant: float
    clairvoyant: float


class Fidelity(_Record):
    """How far the numbers of an episode may be trusted."""

    profile: str = Field(description="The GPU profile that was simulated.")
    line: str = Field(description="What it was held against and how far off it was.")
    warnings: tuple[str, ...] = Field(
        description="Where the episode left the range in which real runs were compared."
    )


class GradeReport(_Record):
    """The grade of one episode: what a replay of its actions earned, on a scale from 0 to 1."""

    task_id: str
    environment_version: str
    seed: Count
    trace_seed: Count
    episode_id: str | None = None
    score: Fraction = Field(
        description="0 uniform random, 0.5 the best constant setting on this traffic, 1 the "
        "clairvoyant planner; within [0.001, 0.999], and exactly 0 if no window was played."
    )
    score_unclipped: float = Field(description="The same scale without its ends.")
    raw_score: float = Field(
        description="Mean reward of a window in [-1, 1] over the whole horizon, with the task's "
        "own weights; a window that was not played counts as all penalties and no gain."
    )
    is_complete: bool = Field(description="Whether the whole horizon was played.")
    windows_played: Count
    windows: Count = Field(description="The task's horizon.")
    breakdown: dict[str, TermGrade] = Field(description="Every term of the reward, by name.")
    anchors: Anchors
    share_of_way_from_vllm_default: float = Field(
        description="0 is vLLM's default setting, 1 the clairvoyant planner."
    )
    feedback: tuple[str, ...] = Field(description="What cost most, in plain language.")
    scale: str = Field(description="What the score means, in a sentence.")
    fidelity: Fidelity | None = Field(
        default=None, description="How far the simulated numbers behind it may be trusted."
    )


class ServeState(_Record):
    """Where an episode stands."""

    episode_id: str | None
    step_count: Count
    task_id: str | None
    seed: Count | None
    trace_seed: Count | None
    environment_version: str
    done: bool
    total_reward: float
    config: ServeAction | None
    metrics: MetricsSnapshot | None
    grade: GradeReport | None = Field(
        default=None,
        description="Once the episode is over, where a server grades it; variants are not graded.",
    )


class RealMetrics(MetricsSnapshot):
    """What was measured on a real server; what cannot be measured there is None, never made up."""

    kv_cache_occupancy: Fraction | None  # type: ignore[assignment]  # wider than the simulator's
    gpu_memory_used_gb: NonNegative | None  # type: ignore[assignment]
    gpu_memory_reserved_gb: NonNegative | None  # type: ignore[assignment]
    gpu_busy_fraction: Fraction | None  # type: ignore[assignment]
    cost_so_far: NonNegative | None  # type: ignore[assignment]
    eviction_events: Count | None  # type: ignore[assignment]


class RealObservation(RealMetrics, ServeObservation):
    """What a policy sees of a real server: a ServeObservation with RealMetrics for measurements."""


class RealState(ServeState):
    """Where an episode on a real server stands; it is never graded."""

    mode: Literal["real"] = "real"
    metrics: RealMetrics | None


class EpisodeStep(_Record):
    """One window of a log: what was asked for, what came of it."""

    action: ServeAction
    reward: float
    metrics: MetricsSnapshot


class EpisodeLog(_Record):
    """All that is needed to replay an episode and to compare the replay with what was claimed."""

    environment_version: str
    task_id: str
    seed: Seed
    trace_seed: Seed
    reward_weights: RewardWeights
    # The first bad row is named and the rest is left unread: a log may be long.
    steps: Annotated[tuple[EpisodeStep, ...], FailFast()]


class ResetOptions(_Record):
    """What reset accepts beside nothing at all."""

    task_id: str = "static_workload"
    seed: Seed | None = Field(
        default=None, description="Seed of the episode; drawn at random and reported if left out."
    )
    trace_seed: Seed | None = Field(
        default=None,
        description="Seed of the traffic alone; the episode's seed if left out.",
    )
    episode_id: str | None = Field(default=None, min_length=1, max_length=128)
    reward_weights: RewardWeights = Field(
        default_factory=dict, description="Overrides of the task's reward weights, by term."
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data
