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
ServingKind = Literal["gpu", "cpu"]

T = TypeVar("T")


class _Strict(BaseModel):
    """Frozen, closed to unknown keys, free of NaN and Infinity, and no text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Sourced(_Strict, Generic[T]):
    """A value, where it comes from and when it was read there."""

    value: T
    source: str = Field(min_length=1)
    date: str = Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")


class Uncertain(Sourced[Fraction]):
    """A value whose plausible range is known."""

    low: Fraction
    high: Fraction

    @model_validator(mode="after")
    def _lies_in_its_range(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value} lies outside [{self.low}, {self.high}]")
        return self


class GpuEntry(_Strict):
    """One GPU."""

    name: str
    memory_gb: Sourced[Positive]


class OperatorSource(_Strict):
    """Where a profile's times come from: operator tables of a package, or this project's fit."""

    origin: Literal["aiconfigurator-core", "scripts.fit_step_times"]
    system: str
    backend: str
    backend_version: str


class ProfileEntry(_Strict):
    """A GPU, a model, the weight precision behind each offered tier, and that of the KV cache.

    A tier that is not among `kernels` is not offered: to ask for it is an error that says so.
    """

    gpu: str
    model: str
    operators: OperatorSource
    kernels: dict[QuantizationTier, str] = Field(min_length=1)
    kv_cache: KvPrecision
    serving: ServingKind


class HardwareFile(_Strict):
    """hardware.toml."""

    gpus: dict[str, GpuEntry]
    profiles: dict[str, ProfileEntry]


class ModelEntry(_Strict):
    """One model's shape."""

    name: str
    parameters: Sourced[Count]
    layers: Sourced[Count]
    kv_heads: Sourced[Count]
    head_dim: Sourced[Count]
    context_tokens: Sourced[Count]


class ModelsFile(RootModel[dict[str, ModelEntry]]):
    """models.toml."""


class PrecisionEntry(_Strict):
    """Memory and quality of one weight precision."""

    weight_gb: Sourced[Positive]
    recovery_openllm_v1: Sourced[Fraction]
    recovery_openllm_v2: Sourced[Fraction]
    recovery_arena_hard: Sourced[Fraction]


class Int4LargeBatch(_Strict):
    """How far INT4 GEMM times at large batch may be off."""

    efficiency: Uncertain
    from_tokens: Sourced[Count]


class PrecisionFile(_Strict):
    """precision.toml; the keys are the quantization modes of the operator tables."""

    bfloat16: PrecisionEntry
    sq: PrecisionEntry
    fp8: PrecisionEntry
    int4_wo: PrecisionEntry
    float32: PrecisionEntry
    int4_large_batch: Int4LargeBatch


class PriceEntry(_Strict):
    """The price of one GPU."""

    usd_per_gpu_hour: Sourced[Positive]


class PricesFile(RootModel[dict[str, PriceEntry]]):
    """prices.toml; the keys are those of the GPUs in hardware.toml."""


class Stalls(_Strict):
    """How long the engine serves nothing while it switches, by regime."""

    standby_s: Sourced[Positive]
    warm_s: Sourced[Positive]
    cold_s: Sourced[Positive]


class SwitchingFile(_Strict):
    """switching.toml."""

    stalls: Stalls
    knobs: dict[str, Sourced[SwitchLabel]]

    @model_validator(mode="after")
    def _labels_every_knob(self) -> Self:
        if set(self.knobs) != set(KNOBS):
            raise ValueError(f"knobs must be {', '.join(KNOBS)}; got {', '.join(self.knobs)}")
        return self


class HostEntry(_Strict):
    """Time spent outside the GPU."""

    iteration_ms: Sourced[NonNegative]
    api_ms: Sourced[Positive]


class SpeculationEntry(_Strict):
    """Cost of drafting and of verifying drafts."""

    draft_ms_per_depth: Sourced[Positive]
    draft_us_per_row: Sourced[Positive]


class MemoryEntry(_Strict):
    """How GPU memory is laid out and admitted to."""

    kv_block_tokens: Sourced[Count]
    utilisation_fraction: Sourced[Fraction]
    activation_gb: Sourced[Positive]
    admission_watermark_fraction: Sourced[FractionOrNone]


class TransferEntry(_Strict):
    """How fast KV moves from a prefill to a decode replica."""

    pcie_gb_per_s: Sourced[Positive]
    nvlink_gb_per_s: Sourced[Positive]
    setup_ms: Sourced[Positive]


class ServingFile(_Strict):
    """serving.toml and serving_cpu.toml."""

    host: HostEntry
    speculation: SpeculationEntry
    memory: MemoryEntry
    transfer: TransferEntry


class DataFiles(_Strict):
    """All seven files, parsed."""

    hardware: HardwareFile
    models: ModelsFile
    precision: PrecisionFile
    prices: PricesFile
    switching: SwitchingFile
    serving: ServingFile
    serving_cpu: ServingFile

    @model_validator(mode="after")
    def _refer_to_each_other(self) -> Self:
        gpus, precisions = set(self.hardware.gpus), set(type(self.precision).model_fields)
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
            unknown = set(profile.kernels.values()) - (precisions - {"int4_large_batch"})
            if unknown:
                raise ValueError(f"{where}.kernels: unknown {sorted(unknown)}")
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
        serving=_shipped(ServingFile, "serving.toml"),
        serving_cpu=_shipped(ServingFile, "serving_cpu.toml"),
    )
