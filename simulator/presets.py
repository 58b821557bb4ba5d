"""Turns the name of a fitted real workload into a stream of traffic."""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from importlib import resources

from llmserve_env.errors import InvalidInputError
from llmserve_env.preset_spec import Preset, PresetArrivals
from llmserve_env.workloads import MMPP, Poisson, PresetStream, Stream
from simulator.arrivals import mean_rate_rps

PRESET_FOLDER = "presets"
PRESET_SUFFIX = ".toml"
REMEMBERED_STREAMS = 64


def preset_names() -> tuple[str, ...]:
    """The names of the presets, sorted."""
    folder = resources.files("simulator.data").joinpath(PRESET_FOLDER)
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(PRESET_SUFFIX)]
    return tuple(sorted(name.removesuffix(PRESET_SUFFIX) for name in names))


@cache
def read_preset(name: str) -> Preset:
    """The preset with this name.

    Raises:
        InvalidInputError: Naming the presets that exist.
    """
    known = preset_names()
    if name not in known:
        raise InvalidInputError(f"unknown preset {name!r}; known presets: {', '.join(known)}")
    folder = resources.files("simulator.data").joinpath(PRESET_FOLDER)
    text = folder.joinpath(name + PRESET_SUFFIX).read_text(encoding="utf-8")
    return Preset.model_validate(tomllib.loads(text))


def load_preset(name: str, *, rate_rps: float | None = None) -> Stream:
    """A stream of this workload, in the middle priority class.

    Args:
        name: One of preset_names().
        rate_rps: Mean rate wanted: all rates are multiplied alike, which keeps the shape. The
            recorded rate if left out. A preset without arrivals becomes Poisson at this rate.

    Raises:
        InvalidInputError: If the name is unknown, the rate is not a positive number, or the
            preset has no arrivals and no rate is given.
    """
    preset = read_preset(name)
    if rate_rps is not None and not 0.0 < rate_rps < float("inf"):
        raise InvalidInputError(f"rate_rps must be above 0 and finite, got {rate_rps}")
    return Stream(
        name=name,
        arrivals=_arrivals(name, preset.arrivals, rate_rps),
        prompt=preset.prompt,
        output=preset.output,
        prompt_output_correlation=preset.prompt_output_correlation,
        acceptance=preset.acceptance,
    )


@lru_cache(maxsize=REMEMBERED_STREAMS)
def preset_stream(spec: PresetStream) -> Stream:
    """The tenant, spelt out; raises as `load_preset` does."""
    tenant = {"name": spec.name, "priority_shares": spec.priority_shares}
    return load_preset(spec.preset, rate_rps=spec.rate_rps).model_copy(update=tenant)


def _arrivals(name: str, recorded: PresetArrivals | None, rate_rps: float | None) -> PresetArrivals:
    if recorded is None:
        if rate_rps is None:
            raise InvalidInputError(f"preset {name!r} has lengths only; give a rate_rps")
        return Poisson(rate_rps=rate_rps)
    if rate_rps is None:
        return recorded
    factor = rate_rps / mean_rate_rps(recorded)
    if isinstance(recorded, MMPP):
        scaled = tuple(rate * factor for rate in recorded.rates_rps)
        return recorded.model_copy(update={"rates_rps": scaled})
    return recorded.model_copy(update={"rate_rps": recorded.rate_rps * factor})
