"""Turns a workload and a seed into all requests of an episode, whatever a policy does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import Acceptance, PresetStream, Replay, Stream, WorkloadSpec
from simulator.arrivals import arrival_times
from simulator.lengths import correlated_uniforms, tokens
from simulator.presets import preset_stream
from simulator.rates import StepFunction, constant, regime_path
from simulator.records import FloatArray, IntArray, RequestBatch
from simulator.rng import stream
from simulator.traces import Trace, read_trace, replay_rows, split_stretch


def task_requests(task: TaskSpec, trace_seed: int) -> RequestBatch:
    """All requests of an episode of a task; raises as `generate` does."""
    horizon_s = task.windows * task.window_s
    return generate(task.workload, horizon_s=horizon_s, trace_seed=trace_seed)


def generate(
    workload: WorkloadSpec,
    *,
    horizon_s: float,
    trace_seed: int,
    trace_directory: Path | None = None,
) -> RequestBatch:
    """All requests that arrive in [0, horizon), in order of arrival.

    Every source of chance of every stream has its own named generator, so a stream added to the
    workload leaves the others' requests as they were. Load level and regimes multiply the rate of
    the generated families and the speed of a replayed trace.

    Args:
        workload: The streams, their load and regimes.
        horizon_s: Length of the episode, above 0.
        trace_seed: Seed of the traffic, at least 0.
        trace_directory: Where the relative paths of replayed traces start; the working directory
            if left out.

    Raises:
        InvalidInputError: If the horizon is not a positive number, a replayed trace is unfit, there
            is no such preset, or the streams would bring millions of requests.
    """
    if not 0.0 < horizon_s < math.inf:
        raise InvalidInputError(f"horizon_s must be above 0 and finite, got {horizon_s}")
    load_level = stream(trace_seed, "load").uniform(workload.load_low, workload.load_high)
    multipliers = _stream_multipliers(workload, horizon_s, trace_seed)
    batches = [
        _stream_requests(
            preset_stream(spec) if isinstance(spec, PresetStream) else spec,
            multiplier,
            load_level=load_level,
            index=index,
            trace_seed=trace_seed,
            trace_directory=trace_directory or Path(),
        )
        for index, (spec, multiplier) in enumerate(zip(workload.streams, multipliers, strict=True))
    ]
    return _merged(batches, load_level)


def _stream_multipliers(
    workload: WorkloadSpec, horizon_s: float, trace_seed: int
) -> list[StepFunction]:
    regimes = workload.regimes
    if regimes is None:
        return [constant(1.0, horizon_s) for _ in workload.streams]
    edges_s, states = regime_path(regimes, horizon_s=horizon_s, rng=stream(trace_seed, "regime"))
    values = np.array(regimes.rate_multipliers)[states]
    return [StepFunction(edges_s, values[:, index]) for index in range(len(workload.streams))]


def _stream_requests(
    spec: Stream,
    multiplier: StepFunction,
    *,
    load_level: float,
    index: int,
    trace_seed: int,
    trace_directory: Path,
) -> RequestBatch:
    def chance(source: str) -> np.random.Generator:
        return stream(trace_seed, f"{source}/{spec.name}")

    multiplier = multiplier.scaled(load_level)
    recorded_class: IntArray | None = None
    if isinstance(spec.arrivals, Replay):
        trace = read_trace(trace_directory / spec.arrivals.path)
        arrival_s, rows = _replayed(trace, spec.arrivals, multiplier, trace_seed, chance)
        prompt_tokens, output_tokens = trace.prompt_tokens[rows], trace.output_tokens[rows]
        if trace.priority_class is not None:
            recorded_class = trace.priority_class[rows]
    else:
        arrival_s = arrival_times(
            spec.arrivals,
            multiplier,
            modulation=chance("modulation"),
            placement=chance("arrivals"),
        )
        prompt_tokens, output_tokens = _lengths(
            spec, len(arrival_s), prompt=chance("prompt"), output=chance("output")
        )
    count = len(arrival_s)
    return RequestBatch(
        arrival_s=arrival_s,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        priority_class=(
            _classes(spec, count, chance("class")) if recorded_class is None else recorded_class
        ),
        stream=np.full(count, index, dtype=np.int64),
        acceptance_first=acceptance_first(spec.acceptance, count, chance("acceptance")),
        acceptance_ratio=np.full(count, spec.acceptance.ratio),
        load_level=load_level,
    )


def _replayed(
    trace: Trace,
    arrivals: Replay,
    multiplier: StepFunction,
    trace_seed: int,
    chance: Callable[[str], np.random.Generator],
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Arrival times and rows of a stretch, less those that are not kept."""
    speed = multiplier.scaled(arrivals.rate_scale)
    stretch_s = None
    if arrivals.by_split:
        episode_s = float(speed.cumulative()[-1])
        stretch_s = split_stretch(trace, trace_seed, episode_s=episode_s)[:2]
    arrival_s, rows = replay_rows(trace, speed, chance("arrivals"), stretch_s=stretch_s)
    if arrivals.keep_fraction == 1.0:
        return arrival_s, rows
    is_kept = chance("keep").random(len(rows)) < arrivals.keep_fraction
    return arrival_s[is_kept], rows[is_kept]


def _lengths(
    spec: Stream, count: int, *, prompt: np.random.Generator, output: np.random.Generator
) -> tuple[IntArray, IntArray]:
    if spec.prompt is None or spec.output is None:
        raise InvalidInputError(f"stream {spec.name!r} needs prompt and output lengths")
    prompt_uniforms, output_uniforms = correlated_uniforms(
        count, correlation=spec.prompt_output_correlation, first=prompt, second=output
    )
    return tokens(spec.prompt, prompt_uniforms), tokens(spec.output, output_uniforms)


def _classes(spec: Stream, count: int, rng: np.random.Generator) -> IntArray:
    bounds = np.cumsum(spec.priority_shares)[:-1]
    return np.searchsorted(bounds, rng.random(count), side="right").astype(np.int64)


def acceptance_first(acceptance: Acceptance, count: int, rng: np.random.Generator) -> FloatArray:
    """(count,) float64 in [0, 1], the chance of each request's first draft token."""
    mean, spread = acceptance.first, acceptance.spread
    if spread == 0.0:
        return np.full(count, mean)
    weight = mean * (1.0 - mean) / spread**2 - 1.0  # alpha + beta of a beta with this mean and sd
    return rng.beta(mean * weight, (1.0 - mean) * weight, size=count)


def _merged(batches: list[RequestBatch], load_level: float) -> RequestBatch:
    arrival_s = np.concatenate([batch.arrival_s for batch in batches])
    order = np.argsort(arrival_s, kind="stable")
    return RequestBatch(
        arrival_s=arrival_s[order],
        prompt_tokens=np.concatenate([batch.prompt_tokens for batch in batches])[order],
        output_tokens=np.concatenate([batch.output_tokens for batch in batches])[order],
        priority_class=np.concatenate([batch.priority_class for batch in batches])[order],
        stream=np.concatenate([batch.stream for batch in batches])[order],
        acceptance_first=np.concatenate([batch.acceptance_first for batch in batches])[order],
        acceptance_ratio=np.concatenate([batch.acceptance_ratio for batch in batches])[order],
        load_level=load_level,
    )
