"""One frozen record per profile: GPU, model, tiers, prices, serving and switching figures in SI."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.models import TIERS, QuantizationTier
from simulator.hardware_files import (
    DataFiles,
    KvPrecision,
    ModelEntry,
    OperatorSource,
    PrecisionEntry,
    ServingFile,
    SwitchingFile,
    SwitchLabel,
    shipped_files,
)

SwitchRegime = Literal["standby", "warm", "cold"]
Interconnect = Literal["pcie", "nvlink"]

BYTES_PER_GB: Final = 10**9
SECONDS_PER_MS: Final = 1e-3
SECONDS_PER_US: Final = 1e-6
KV_ELEMENT_BYTES: Final[dict[KvPrecision, int]] = {"bfloat16": 2, "fp8": 1, "float32": 4}


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
class Profile:
    """All that the data files say about one deployment: GPU, model, tiers, serving, switching."""

    name: str
    gpu: Gpu
    model: Model
    operators: OperatorSource
    kv_cache: KvPrecision
    tiers: tuple[Tier, ...]
    int4: Int4Uncertainty
    serving: Serving
    switching: Switching

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


def profile_names() -> tuple[str, ...]:
    """The names of the shipped profiles."""
    return tuple(shipped_files().hardware.profiles)


@cache
def load_profile(name: str) -> Profile:
    """The shipped profile of this name.

    Raises:
        InvalidInputError: Naming the profiles that exist.
        ValueError: If a data file is malformed, naming file and key.
    """
    return build_profile(shipped_files(), name)


def build_profile(files: DataFiles, name: str) -> Profile:
    """The profile of this name as the given files describe it.

    Raises:
        InvalidInputError: Naming the profiles that exist.
    """
    if name not in files.hardware.profiles:
        known = ", ".join(files.hardware.profiles)
        raise InvalidInputError(f"unknown profile {name!r}; known profiles: {known}")
    entry = files.hardware.profiles[name]
    gpu = files.hardware.gpus[entry.gpu]
    price = files.prices.root[entry.gpu].usd_per_gpu_hour.value
    large_batch = files.precision.int4_large_batch
    efficiency = large_batch.efficiency
    return Profile(
        name=name,
        gpu=Gpu(gpu.name, _bytes(gpu.memory_gb.value), price),
        model=_model(files.models.root[entry.model], KV_ELEMENT_BYTES[entry.kv_cache]),
        operators=entry.operators,
        kv_cache=entry.kv_cache,
        tiers=tuple(
            _tier(tier, entry.kernels[tier], getattr(files.precision, entry.kernels[tier]))
            for tier in TIERS
            if tier in entry.kernels
        ),
        int4=Int4Uncertainty(
            efficiency.value, efficiency.low, efficiency.high, large_batch.from_tokens.value
        ),
        serving=_serving(files.serving_cpu if entry.serving == "cpu" else files.serving),
        switching=_switching(files.switching),
    )


def _bytes(gigabytes: float) -> int:
    return round(gigabytes * BYTES_PER_GB)


def _model(entry: ModelEntry, kv_element_bytes: int) -> Model:
    layers, heads, dim = entry.layers.value, entry.kv_heads.value, entry.head_dim.value
    return Model(
        name=entry.name,
        parameters=entry.parameters.value,
        layers=layers,
        kv_heads=heads,
        head_dim=dim,
        kv_bytes_per_token=2 * layers * heads * dim * kv_element_bytes,
        context_tokens=entry.context_tokens.value,
    )


def _tier(name: QuantizationTier, kernel: str, entry: PrecisionEntry) -> Tier:
    return Tier(
        name=name,
        kernel=kernel,
        weight_bytes=_bytes(entry.weight_gb.value),
        recovery_openllm_v1=entry.recovery_openllm_v1.value,
        recovery_openllm_v2=entry.recovery_openllm_v2.value,
        recovery_arena_hard=entry.recovery_arena_hard.value,
    )


def _serving(file: ServingFile) -> Serving:
    memory, transfer = file.memory, file.transfer
    return Serving(
        host_s=file.host.iteration_ms.value * SECONDS_PER_MS,
        api_s=file.host.api_ms.value * SECONDS_PER_MS,
        draft_s=file.speculation.draft_ms_per_depth.value * SECONDS_PER_MS,
        draft_row_s=file.speculation.draft_us_per_row.value * SECONDS_PER_US,
        kv_block_tokens=memory.kv_block_tokens.value,
        memory_utilisation_fraction=memory.utilisation_fraction.value,
        activation_bytes=_bytes(memory.activation_gb.value),
        admission_watermark_fraction=memory.admission_watermark_fraction.value,
        pcie_bytes_per_s=transfer.pcie_gb_per_s.value * BYTES_PER_GB,
        nvlink_bytes_per_s=transfer.nvlink_gb_per_s.value * BYTES_PER_GB,
        transfer_setup_s=transfer.setup_ms.value * SECONDS_PER_MS,
    )


def _switching(file: SwitchingFile) -> Switching:
    return Switching(
        standby_s=file.stalls.standby_s.value,
        warm_s=file.stalls.warm_s.value,
        cold_s=file.stalls.cold_s.value,
        labels=tuple((knob, label.value) for knob, label in file.knobs.items()),
    )
