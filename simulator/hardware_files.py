"""Strict records of the data files hardware, models, precision, prices, switching and serving."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError, model_validator

from llmserve_env.models import KNOBS, QuantizationTier

Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
FractionOrNone = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
SwitchLabel = Literal["hot", "warm", "cold"]
KvPrecision = Literal["bfloat16", "fp8", "float32"]

T = TypeVar("T")


class Strict(BaseModel):
    """Frozen, closed to unknown keys, free of NaN and Infinity, and no text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Sourced(Strict, Generic[T]):
    """A value, where it comes from and when it was read there.

    Attributes:
        interval: Where it lies with 95 %, of a value that was fitted.
    """

    value: T
    source: str = Field(min_length=1)
    date: str = Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")
    interval: Annotated[tuple[float, float], Field(strict=False)] | None = None


class Uncertain(Sourced[Fraction]):
    """A value whose plausible range is known."""

    low: Fraction
    high: Fraction

    @model_validator(mode="after")
    def _lies_in_its_range(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value} lies outside [{self.low}, {self.high}]")
        return self


class GpuEntry(Strict):
    """One GPU."""

    name: str
    memory_gb: Sourced[Positive]


class OperatorSource(Strict):
    """Where a profile's times come from: operator tables of a package, or this project's fit.

    Attributes:
        attention: Precision of prefill attention's arithmetic; that of the KV cache if left out.
    """

    origin: str = Field(min_length=1)
    system: str
    backend: str
    backend_version: str
    attention: KvPrecision | None = None


class ProfileEntry(Strict):
    """A GPU, a model, the weight precision behind each offered tier, and that of the KV cache.

    A tier that is not among `kernels` is not offered: to ask for it is an error that says so.
    `serving` is the key of a file: "gpu" is serving.toml, "cpu" serving_cpu.toml.
    """

    gpu: str
    model: str
    operators: OperatorSource
    kernels: dict[QuantizationTier, str] = Field(min_length=1)
    kv_cache: KvPrecision
    serving: str


class HardwareFile(Strict):
    """hardware.toml."""

    gpus: dict[str, GpuEntry]
    profiles: dict[str, ProfileEntry]


class ModelEntry(Strict):
    """One model's shape."""

    name: str
    parameters: Sourced[Count]
    layers: Sourced[Count]
    kv_heads: Sourced[Count]
    head_dim: Sourced[Count]
    context_tokens: Sourced[Count]


class ModelsFile(RootModel[dict[str, ModelEntry]]):
    """models.toml."""


class PrecisionEntry(Strict):
    """Memory and quality of one weight precision."""

    weight_gb: Sourced[Positive]
    recovery_openllm_v1: Sourced[Fraction]
    recovery_openllm_v2: Sourced[Fraction]
    recovery_arena_hard: Sourced[Fraction]


class Int4LargeBatch(Strict):
    """How far INT4 GEMM times at large batch may be off."""

    efficiency: Uncertain
    from_tokens: Sourced[Count]


class PrecisionFile(Strict):
    """precision.toml.

    Attributes:
        weights: By model, as in models.toml, and by quantization mode of the operator tables.
    """

    weights: dict[str, dict[str, PrecisionEntry]]
    int4_large_batch: Int4LargeBatch


class PriceEntry(Strict):
    """The price of one GPU."""

    usd_per_gpu_hour: Sourced[Positive]


class PricesFile(RootModel[dict[str, PriceEntry]]):
    """prices.toml; the keys are those of the GPUs in hardware.toml."""


class Stalls(Strict):
    """How long the engine serves nothing while it switches, by regime."""

    standby_s: Sourced[Positive]
    warm_s: Sourced[Positive]
    cold_s: Sourced[Positive]


class SwitchingFile(Strict):
    """switching.toml."""

    stalls: Stalls
    knobs: dict[str, Sourced[SwitchLabel]]

    @model_validator(mode="after")
    def _labels_every_knob(self) -> Self:
        if set(self.knobs) != set(KNOBS):
            raise ValueError(f"knobs must be {', '.join(KNOBS)}; got {', '.join(self.knobs)}")
        return self


class HostEntry(Strict):
    """Time spent outside the GPU."""

    iteration_ms: Sourced[NonNegative]
    api_ms: Sourced[Positive]


class SpeculationEntry(Strict):
    """Cost of drafting and of verifying drafts."""

    draft_ms_per_depth: Sourced[Positive]
    draft_us_per_row: Sourced[Positive]


class StepFactors(Strict):
    """Factors on a profile's measured times, as a user's own server tells them; 1 where left out.

    Attributes:
        linear: On the linear layers and small operators of all blocks, by tier.
        head: On the output projection, which all tiers share.
        attention: On attention, of decode and of prefill.
    """

    linear: dict[QuantizationTier, Sourced[Positive]] = Field(default_factory=dict)
    head: Sourced[Positive] | None = None
    attention: Sourced[Positive] | None = None


class MemoryEntry(Strict):
    """How GPU memory is laid out and admitted to."""

    kv_block_tokens: Sourced[Count]
    utilisation_fraction: Sourced[Fraction]
    activation_gb: Sourced[Positive]
    admission_watermark_fraction: Sourced[FractionOrNone]


class TransferEntry(Strict):
    """How fast KV moves from a prefill to a decode replica."""

    pcie_gb_per_s: Sourced[Positive]
    nvlink_gb_per_s: Sourced[Positive]
    setup_ms: Sourced[Positive]


class ServingFile(Strict):
    """serving.toml and serving_cpu.toml."""

    host: HostEntry
    speculation: SpeculationEntry
    memory: MemoryEntry
    transfer: TransferEntry


class DataFiles(Strict):
    """All seven files, parsed; those of serving by the key that profiles name them by."""

    hardware: HardwareFile
    models: ModelsFile
    precision: PrecisionFile
    prices: PricesFile
    switching: SwitchingFile
    serving: dict[str, ServingFile]

    @model_validator(mode="after")
    def _refer_to_each_other(self) -> Self:
        gpus = set(self.hardware.gpus)
        if set(self.prices.root) != gpus:
            raise ValueError(
                f"prices.toml must price {sorted(gpus)}, got {sorted(self.prices.root)}"
            )
        for name, profile in self.hardware.profiles.items():
            where = f"hardware.toml: profiles.{name}"
            if profile.gpu not in gpus:
                raise ValueError(f"{where}.gpu: unknown {profile.gpu!r}")
            if profile.model not in self.models.root:
                raise ValueError(f"{where}.model: unknown {profile.model!r}")
            if profile.serving not in self.serving:
                raise ValueError(f"{where}.serving: unknown {profile.serving!r}")
            known = self.precision.weights.get(profile.model, {})
            unknown = sorted(set(profile.kernels.values()) - set(known))
            if unknown:
                raise ValueError(
                    f"{where}.kernels: precision.toml has no weights.{profile.model}.{unknown[0]}"
                )
        return self


Parsed = TypeVar("Parsed", bound=BaseModel)


def parse(kind: type[Parsed], text: str, file_name: str) -> Parsed:
    """The record that a TOML text describes.

    Raises:
        ValueError: For an unknown or missing key, a wrong type or bound, NaN or Infinity; the
            message names the file and every offending key.
    """
    try:
        return kind.model_validate(tomllib.loads(text))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{file_name}: {'; '.join(faults)}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file_name}: {error}") from error


def _shipped(kind: type[Parsed], file_name: str) -> Parsed:
    text = resources.files("simulator").joinpath("data", file_name).read_text(encoding="utf-8")
    return parse(kind, text, file_name)


@cache
def shipped_files() -> DataFiles:
    """The data files that come with the package, checked against each other."""
    return DataFiles(
        hardware=_shipped(HardwareFile, "hardware.toml"),
        models=_shipped(ModelsFile, "models.toml"),
        precision=_shipped(PrecisionFile, "precision.toml"),
        prices=_shipped(PricesFile, "prices.toml"),
        switching=_shipped(SwitchingFile, "switching.toml"),
        serving={
            "gpu": _shipped(ServingFile, "serving.toml"),
            "cpu": _shipped(ServingFile, "serving_cpu.toml"),
        },
    )
