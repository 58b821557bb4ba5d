"""Imported traces and fits as tasks: where they lie, and what an id such as `trace:NAME` asks for.

    trace:NAME[:task=TASK][:ttft_ms=MS[/MS/MS]][:itl_ms=MS[/MS/MS]][:load=FACTOR][:keep=SHARE]
              [:profile=NAME][:tier=TIER][:memory_gb=GB][:max_model_len=TOKENS]

NAME is a file of the folder of traces and never a path: ids come over the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationError

from llmserve_env.errors import InvalidInputError, UnknownTraceError
from llmserve_env.models import CLASS_COUNT
from llmserve_env.preset_spec import Preset
from llmserve_env.served_on import ServedOn, option_fields, options_of
from llmserve_env.validation import first_problem
from llmserve_env.workloads import Acceptance, Positive, Replay, Stream

TRACE_PREFIX: Final = "trace:"
TRACE_SUFFIX: Final = ".parquet"
FIT_SUFFIX: Final = ".json"
GYMNASIUM_ID: Final = "llmserve/Trace-v1"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DEFAULT_TASK: Final = "bursty_workload"
DEFAULT_FOLDER: Final = "~/.local/share/llmserve/traces"


def _per_class(value: object) -> object:
    """`300` or `300/500/2000` as a number per class; what is no text is left as it is."""
    if isinstance(value, int | float):
        return (value,) * CLASS_COUNT
    if not isinstance(value, str):
        return value
    parts = value.split("/")
    return parts * CLASS_COUNT if len(parts) == 1 else parts


PerClassMs = Annotated[
    tuple[Annotated[float, Field(gt=0.0, le=3.6e6)], ...],
    Field(min_length=CLASS_COUNT, max_length=CLASS_COUNT),
    BeforeValidator(_per_class),
]


class TraceOptions(ServedOn):
    """How a trace is played, and on what: the options of ServedOn.

    Attributes:
        task: The graded task whose deployment, knobs, reward and objectives it has.
        ttft_ms: Objectives of the classes 0, 1, 2, or one for all; the task's if left out.
        itl_ms: The same for the mean inter-token latency.
        load: Factor on the rate: of a recording on the speed of its clock, 4 at most.
        keep: Share of a recording's requests that is kept, drawn at random: one replica of a pool.
    """

    task: str = DEFAULT_TASK
    ttft_ms: PerClassMs | None = None
    itl_ms: PerClassMs | None = None
    load: Annotated[Positive, Field(le=100.0)] = 1.0
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


@dataclass(slots=True)
class _Folder:
    """Where this process looks for traces."""

    path: Path | None = None


_FOLDER: Final = _Folder()


def traces_folder() -> Path:
    """The folder of imported traces and fits; it need not exist."""
    return _FOLDER.path or Path(os.path.expanduser(DEFAULT_FOLDER))


def use_traces_folder(path: Path | None) -> None:
    """Look for traces in this folder from now on, in this process; None means the usual one."""
    _FOLDER.path = path


def trace_files() -> dict[str, Path]:
    """The files of the folder of traces by name, a recording before a fit of the same name."""
    folder = traces_folder()
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    for suffix in (TRACE_SUFFIX, FIT_SUFFIX):
        for path in sorted(folder.glob(f"*{suffix}")):
            if NAME_PATTERN.fullmatch(path.stem):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def trace_file(name: str) -> Path:
    """The file of this name in the folder of traces.

    Raises:
        InvalidInputError: If it is no name but a path or the like.
        UnknownTraceError: If there is no such file.
    """
    check_trace_name(name)
    for suffix in (TRACE_SUFFIX, FIT_SUFFIX):
        path = traces_folder() / f"{name}{suffix}"
        if path.is_file():
            return path
    raise UnknownTraceError(name, tuple(trace_files()))


def check_trace_name(name: str) -> None:
    """Refuse what cannot be the name of a trace.

    Raises:
        InvalidInputError: Saying what a name is made of.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidInputError(
            f"trace name {name!r:.80}: need 1 to 64 of the characters A-Z a-z 0-9 _ . -, the first "
            "a letter or digit; a trace is named and never given by its path"
        )


def parse_trace_id(task_id: str) -> tuple[str, TraceOptions]:
    """The name and the options of an id that starts with TRACE_PREFIX.

    Raises:
        InvalidInputError: If the name cannot be one, or an option is unknown or out of range.
    """
    name, *parts = task_id.removeprefix(TRACE_PREFIX).split(":")
    check_trace_name(name)
    return name, trace_options(option_fields(parts))


def trace_options(fields: Mapping[str, object]) -> TraceOptions:
    """The options with these fields.

    Raises:
        InvalidInputError: If a field is unknown or out of range.
    """
    return options_of(TraceOptions, fields, what="trace")


def trace_stream(path: Path, options: TraceOptions, acceptance: Acceptance) -> Stream:
    """The traffic in a file: the recording itself, or what its fit draws.

    Args:
        path: As `trace import` or `trace fit` writes them.
        options: How it is played.
        acceptance: Of drafts; a recording says nothing of it.

    Raises:
        InvalidInputError: If the file is no fit, or a share of a fit's requests is asked for.
    """
    if path.suffix != FIT_SUFFIX:
        replay = Replay(path=str(path), keep_fraction=options.keep, by_split=True)
        return Stream(name="trace", arrivals=replay, acceptance=acceptance)
    if options.keep != 1.0:
        raise InvalidInputError(f"fit {path.stem!r} is drawn, not recorded: lower load, not keep")
    preset = read_fit(path)
    if preset.arrivals is None:
        raise InvalidInputError(f"fit {path.stem!r} has lengths only, no arrivals")
    return Stream(
        name="trace",
        arrivals=preset.arrivals,
        prompt=preset.prompt,
        output=preset.output,
        prompt_output_correlation=preset.prompt_output_correlation,
        acceptance=preset.acceptance,
    )


def read_fit(path: Path) -> Preset:
    """The preset in a file that `trace fit` wrote.

    Raises:
        InvalidInputError: If the file is missing or not one.
    """
    try:
        return Preset.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"fit {path.name}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise InvalidInputError(f"fit {path.name}: {first_problem(error)}") from error
