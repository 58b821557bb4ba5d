"""Name of a profile -> its record: a shipped one of the data files, or one in the user's folder."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from typing import Final

from llmserve_env.errors import InvalidInputError, TierNotOfferedError
from llmserve_env.models import TIERS, QuantizationTier
from simulator.fidelity_card import FidelityCard, shipped_card
from simulator.hardware_files import (
    DataFiles,
    KvPrecision,
    ModelEntry,
    PrecisionEntry,
    ServingFile,
    SwitchingFile,
    shipped_files,
)
from simulator.hardware_records import (
    Gpu,
    Int4Uncertainty,
    Model,
    Profile,
    Serving,
    Switching,
    Tier,
    TimesTable,
)
from simulator.profile_files import (
    TABLE_SUFFIX,
    ProfileFile,
    own_profile_names,
    profile_path,
    read_profile_file,
    with_profile,
)

BYTES_PER_GB: Final = 10**9
SECONDS_PER_MS: Final = 1e-3
SECONDS_PER_US: Final = 1e-6
KV_ELEMENT_BYTES: Final[dict[KvPrecision, int]] = {"bfloat16": 2, "fp8": 1, "float32": 4}


def profile_names() -> tuple[str, ...]:
    """The names of the shipped profiles."""
    return tuple(shipped_files().hardware.profiles)


def all_profile_names() -> tuple[str, ...]:
    """The shipped profiles, then the user's; a shipped name is never the user's."""
    shipped = profile_names()
    return shipped + tuple(name for name in own_profile_names() if name not in shipped)


def load_profile(name: str) -> Profile:
    """The profile of this name: a shipped one, or one in the user's folder.

    Raises:
        InvalidInputError: Naming the profiles that exist, or what is wrong with the user's file.
        ValueError: If a shipped data file is malformed, naming file and key.
    """
    if name in profile_names():
        return _shipped_profile(name)
    own = read_profile_file(name)
    if own is None:
        known = ", ".join(all_profile_names())
        raise InvalidInputError(f"unknown profile {name!r:.80}; known profiles: {known}")
    return own_profile(name, own)


def card_of(name: str) -> FidelityCard | None:
    """What a profile was held against; None if nothing is known.

    Raises:
        InvalidInputError: As load_profile.
    """
    if name in profile_names():
        return shipped_card(name)
    own = read_profile_file(name)
    return None if own is None else own.fidelity


def own_profile(name: str, own: ProfileFile) -> Profile:
    """The profile that a user's file describes, with its table beside it where it has one.

    Raises:
        InvalidInputError: If its entries do not fit, or its table is missing.
    """
    profile = build_profile(with_profile(shipped_files(), name, own), name)
    factors = own.factors
    unknown = [tier for tier in factors.linear if tier not in profile.offered]
    if unknown:
        raise TierNotOfferedError(name, unknown[0], profile.offered)
    times = _own_table(name) if own.operators else TimesTable(shipped=own.based_on)
    return replace(
        profile,
        origin=own.origin,
        based_on=own.based_on,
        times=replace(
            times,
            linear=tuple((tier, factor.value) for tier, factor in factors.linear.items()),
            head=1.0 if factors.head is None else factors.head.value,
            attention=1.0 if factors.attention is None else factors.attention.value,
        ),
    )


@cache
def _shipped_profile(name: str) -> Profile:
    return build_profile(shipped_files(), name)


def _own_table(name: str) -> TimesTable:
    path = profile_path(name).with_name(f"{name}{TABLE_SUFFIX}")
    if not path.is_file():
        raise InvalidInputError(
            f"profile {name}: its table of operator times, {path.name}, is not beside it"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return TimesTable(shipped=None, path=str(path), sha256=digest)


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
    weights = files.precision.weights[entry.model]
    efficiency = large_batch.efficiency
    return Profile(
        name=name,
        gpu=Gpu(gpu.name, _bytes(gpu.memory_gb.value), price),
        model=_model(files.models.root[entry.model], KV_ELEMENT_BYTES[entry.kv_cache]),
        operators=entry.operators,
        kv_cache=entry.kv_cache,
        tiers=tuple(
            _tier(tier, entry.kernels[tier], weights[entry.kernels[tier]])
            for tier in TIERS
            if tier in entry.kernels
        ),
        int4=Int4Uncertainty(
            efficiency.value, efficiency.low, efficiency.high, large_batch.from_tokens.value
        ),
        serving=_serving(files.serving[entry.serving]),
        switching=_switching(files.switching),
        times=TimesTable(shipped=name),
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
