"""The facts of a profile as frozen records in SI: GPU, model, tiers, prices, engine, switching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmserve_env.errors import TierNotOfferedError
from llmserve_env.models import QuantizationTier
from simulator.hardware_files import KvPrecision, OperatorSource, SwitchLabel

SwitchRegime = Literal["standby", "warm", "cold"]
Interconnect = Literal["pcie", "nvlink"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, its memory and its price."""

    name: str
    memory_bytes: int
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model's shape; the KV cache has the same precision in every tier of a profile."""

    name: str
    parameters: int
    layers: int
    kv_heads: int
    head_dim: int
    kv_bytes_per_token: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Tier:
    """A quantization tier as a profile offers it.

    Attributes:
        kernel: Quantization mode of the operator tables; the tier INT8 is W8A8 integer ("sq") on
            A100 and "fp8" on H100 and L40S.
        recovery_*: Share of the unquantized model's benchmark score that is kept, in (0, 1].
    """

    name: QuantizationTier
    kernel: str
    weight_bytes: int
    recovery_openllm_v1: float
    recovery_openllm_v2: float
    recovery_arena_hard: float

    @property
    def quality(self) -> float:
        """What an answer is worth against the unquantized model's: the mean of the recoveries."""
        return (self.recovery_openllm_v1 + self.recovery_openllm_v2 + self.recovery_arena_hard) / 3


@dataclass(frozen=True, slots=True)
class Int4Uncertainty:
    """Factor that may divide INT4 GEMM times at `from_tokens` tokens and above, and its range."""

    efficiency: float
    low: float
    high: float
    from_tokens: int


@dataclass(frozen=True, slots=True)
class Serving:
    """The engine around the GPU kernels.

    Attributes:
        host_s: Host time added to every iteration.
        api_s: Time added to every first token.
        draft_s: Draft time per depth and iteration.
        draft_row_s: Extra time per sequence and verified token, batch * (depth + 1) of them.
        transfer_setup_s: Added to every KV transfer.
    """

    host_s: float
    api_s: float
    draft_s: float
    draft_row_s: float
    kv_block_tokens: int
    memory_utilisation_fraction: float
    activation_bytes: int
    admission_watermark_fraction: float
    pcie_bytes_per_s: float
    nvlink_bytes_per_s: float
    transfer_setup_s: float

    def transfer_bytes_per_s(self, interconnect: Interconnect) -> float:
        """The bandwidth of a KV transfer between replicas."""
        return self.pcie_bytes_per_s if interconnect == "pcie" else self.nvlink_bytes_per_s


@dataclass(frozen=True, slots=True)
class Switching:
    """What changing a knob costs; `labels` says hot, warm or cold for each knob."""

    standby_s: float
    warm_s: float
    cold_s: float
    labels: tuple[tuple[str, SwitchLabel], ...]

    def stall_s(self, regime: SwitchRegime) -> float:
        """How long the engine serves nothing after a change of a knob that is not hot."""
        stalls = {"standby": self.standby_s, "warm": self.warm_s, "cold": self.cold_s}
        return stalls[regime]


@dataclass(frozen=True, slots=True)
class TimesTable:
    """Which table of operator times a profile reads, and the factors on it.

    Attributes:
        shipped: Name of the shipped profile whose table it is; None for a user's own.
        path: Of a user's own table.
        sha256: Of that file, so that another content is another table.
        linear: Factors on linear layers by tier; 1 where a tier is not among them.
        head: Factor on the output projection.
        attention: Factor on attention.
    """

    shipped: str | None
    path: str = ""
    sha256: str = ""
    linear: tuple[tuple[QuantizationTier, float], ...] = ()
    head: float = 1.0
    attention: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """All that the data files say about one deployment: GPU, model, tiers, serving, switching.

    Attributes:
        origin: What a user's profile says of itself; empty for a shipped one.
        based_on: The shipped profile that a user's builds on; empty for a shipped one.
    """

    name: str
    gpu: Gpu
    model: Model
    operators: OperatorSource
    kv_cache: KvPrecision
    tiers: tuple[Tier, ...]
    int4: Int4Uncertainty
    serving: Serving
    switching: Switching
    times: TimesTable
    origin: str = ""
    based_on: str = ""

    @property
    def offered(self) -> tuple[QuantizationTier, ...]:
        """The tiers with measured times, in the order of models.TIERS."""
        return tuple(tier.name for tier in self.tiers)

    def tier(self, name: QuantizationTier) -> Tier:
        """The facts of one tier.

        Raises:
            TierNotOfferedError: Naming the tiers that this profile offers.
        """
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise TierNotOfferedError(self.name, name, self.offered)
