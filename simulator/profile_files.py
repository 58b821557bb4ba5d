"""Profiles that users bring: NAME.json in their folder, and the shipped data files with one added.

A user's profile is a shipped one with some entries replaced: constants that were fitted to a server
(`llmserve calibrate`), a price, or a GPU or model of its own with its table of operator times,
NAME.parquet beside it. docs/profiles.md shows both.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from llmserve_env.errors import InvalidInputError
from llmserve_env.models import QuantizationTier
from llmserve_env.validation import first_problem
from simulator.fidelity_card import FidelityCard
from simulator.hardware_files import (
    DataFiles,
    GpuEntry,
    HostEntry,
    KvPrecision,
    MemoryEntry,
    ModelEntry,
    OperatorSource,
    PrecisionEntry,
    PriceEntry,
    SpeculationEntry,
    StepFactors,
    Strict,
    TransferEntry,
)

SUFFIX: Final = ".json"
TABLE_SUFFIX: Final = ".parquet"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DEFAULT_FOLDER: Final = "~/.local/share/llmserve/profiles"
SERVING_PARTS: Final = ("host", "speculation", "memory", "transfer")


class ProfileFile(Strict):
    """NAME.json: a profile by what sets it apart from the one that it is based on.

    Attributes:
        based_on: A shipped profile; whatever is left out is as there.
        origin: Who made this from what, in a sentence.
        kernels: The tiers that are offered; to leave one out takes it away.
        weights: Memory and quality by kernel; a model of its own needs those of all its kernels.
        operators: Where the times in NAME.parquet come from; without it they are those of
            `based_on`.
        factors: On those times.
        fidelity: What it was held against.
    """

    version: Literal[1] = 1
    based_on: str
    origin: str = Field(min_length=1)
    gpu: GpuEntry | None = None
    price: PriceEntry | None = None
    model: ModelEntry | None = None
    kernels: dict[QuantizationTier, str] | None = Field(default=None, min_length=1)
    weights: dict[str, PrecisionEntry] = Field(default_factory=dict)
    kv_cache: KvPrecision | None = None
    host: HostEntry | None = None
    speculation: SpeculationEntry | None = None
    memory: MemoryEntry | None = None
    transfer: TransferEntry | None = None
    operators: OperatorSource | None = None
    factors: StepFactors = StepFactors()
    fidelity: FidelityCard | None = None


@dataclass(slots=True)
class _Folder:
    """Where this process looks for users' profiles."""

    path: Path | None = None


_FOLDER: Final = _Folder()


def profiles_folder() -> Path:
    """The folder of users' profiles; it need not exist."""
    return _FOLDER.path or Path(os.path.expanduser(DEFAULT_FOLDER))


def use_profiles_folder(path: Path | None) -> None:
    """Look for profiles in this folder from now on, in this process; None means the usual one."""
    _FOLDER.path = path


def own_profile_names() -> tuple[str, ...]:
    """The names of the profiles in the user's folder, in order."""
    found = profiles_folder().glob(f"*{SUFFIX}") if profiles_folder().is_dir() else ()
    return tuple(sorted(path.stem for path in found if NAME_PATTERN.fullmatch(path.stem)))


def profile_path(name: str) -> Path:
    """Where the user's profile of this name lies, or would.

    Raises:
        InvalidInputError: If it is no name but a path or the like.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(
            f"profile name {name!r:.80}: need 1 to 64 of the characters A-Z a-z 0-9 _ . -, the "
            "first a letter or digit; a profile is named and never given by its path"
        )
    return profiles_folder() / f"{name}{SUFFIX}"


def read_profile_file(name: str) -> ProfileFile | None:
    """The user's profile of this name; None if there is none.

    Raises:
        InvalidInputError: If the file cannot be read or is no profile, naming the key.
    """
    path = profile_path(name)
    try:
        return ProfileFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidInputError(f"profile {name}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidInputError(f"{path.name}: {first_problem(error, whole='file')}") from error


def with_profile(files: DataFiles, name: str, own: ProfileFile) -> DataFiles:
    """The data files with a user's profile added under this name.

    Raises:
        InvalidInputError: If it is based on no shipped profile, or its entries do not fit.
    """
    hardware = files.hardware
    base = hardware.profiles.get(own.based_on)
    if base is None:
        shipped = ", ".join(hardware.profiles)
        raise InvalidInputError(
            f"profile {name}: based_on {own.based_on!r:.80}; shipped: {shipped}"
        )
    gpu = name if own.gpu or own.price else base.gpu
    model = name if own.model or own.weights else base.model
    entry = base.model_copy(
        update={
            "gpu": gpu,
            "model": model,
            "serving": name,
            "kernels": own.kernels or base.kernels,
            "kv_cache": own.kv_cache or base.kv_cache,
            "operators": own.operators or base.operators,
        }
    )
    serving = files.serving[base.serving].model_copy(
        update={part: getattr(own, part) for part in SERVING_PARTS if getattr(own, part)}
    )
    weights = files.precision.weights
    # Another model's weights are of another size: none of them is taken over.
    inherited = {} if own.model else weights[base.model]
    try:
        return DataFiles(
            hardware=hardware.model_copy(
                update={
                    "gpus": hardware.gpus | {gpu: own.gpu or hardware.gpus[base.gpu]},
                    "profiles": hardware.profiles | {name: entry},
                }
            ),
            models=type(files.models)(
                files.models.root | {model: own.model or files.models.root[base.model]}
            ),
            precision=files.precision.model_copy(
                update={"weights": weights | {model: inherited | own.weights}}
            ),
            prices=type(files.prices)(
                files.prices.root | {gpu: own.price or files.prices.root[base.gpu]}
            ),
            switching=files.switching,
            serving=files.serving | {name: serving},
        )
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"profile {name}: {message}") from error
