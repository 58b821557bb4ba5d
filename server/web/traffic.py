"""What a visitor may choose to play: a task, under its own traffic or that of a real workload."""

from __future__ import annotations

import math
from typing import Final

from llmserve_env.errors import InvalidInputError
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from llmserve_env.traces import TRACE_PREFIX, trace_files
from llmserve_env.workloads import PresetStream, WorkloadSpec
from simulator.presets import preset_names, read_preset

OWN: Final = "own"
PRESET: Final = "preset:"
LEAST_RATE_RPS, MOST_RATE_RPS, USUAL_RATE_RPS = 0.1, 40.0, 4.0
# Between task, preset and rate in the id of a task under a preset's traffic.
WITH, AT = "+", "@"


def task_choices() -> list[tuple[str, str]]:
    """The graded tasks as (label, id)."""
    return [
        (f"{task.name} ({task.difficulty})", task.task_id) for task in shipped_catalogue().tasks
    ]


def traffic_choices(task_id: str) -> list[tuple[str, str]]:
    """The kinds of traffic that a task may be played under, as (label, value)."""
    variants = [
        (f"{task.name}, not graded", task.task_id)
        for task in shipped_catalogue().variants
        if task.variant_of == task_id
    ]
    traces = [
        (f"Trace {name}, not graded", f"{TRACE_PREFIX}{name}:task={task_id}")
        for name in trace_files()
    ]
    presets = [(f"Preset {name}, not graded", PRESET + name) for name in preset_names()]
    return [("The task's own (graded)", OWN), *variants, *traces, *presets]


def chosen_task(task_id: str, traffic: str, rate_rps: float | None) -> TaskSpec:
    """The task that the choices stand for.

    Args:
        task_id: Of a graded task.
        traffic: A value of traffic_choices.
        rate_rps: Mean requests per second of a preset; the others have their own.

    Raises:
        UnknownTaskError: If there is no such task or variant.
        InvalidInputError: If there is no such preset, or the rate lies outside its range.
    """
    if traffic.startswith(PRESET):
        rate = math.nan if rate_rps is None else rate_rps
        return preset_task(task_id, traffic.removeprefix(PRESET), rate)
    return shipped_catalogue().get(task_id if traffic == OWN else traffic)


def task_of(task_id: str) -> TaskSpec:
    """The task that an episode file names: shipped, or one under a preset's traffic.

    Raises:
        UnknownTaskError: If there is no such task.
        InvalidInputError: If there is no such preset, or the rate lies outside its range.
    """
    base, plus, rest = task_id.partition(WITH)
    preset, at, rate = rest.rpartition(AT)
    if not plus or not at:
        return shipped_catalogue().get(task_id)
    try:
        rate_rps = float(rate)
    except ValueError:
        rate_rps = math.nan
    return preset_task(base, preset, rate_rps)


def preset_task(task_id: str, preset: str, rate_rps: float) -> TaskSpec:
    """A task's deployment, objectives and reward under the traffic of a fitted real workload.

    Raises:
        UnknownTaskError: If there is no such task.
        InvalidInputError: If there is no such preset, or the rate lies outside its range.
    """
    if not LEAST_RATE_RPS <= rate_rps <= MOST_RATE_RPS:
        raise InvalidInputError(
            f"a preset's rate must be {LEAST_RATE_RPS:g} to {MOST_RATE_RPS:g} requests per second, "
            f"got {rate_rps:g}"
        )
    base, found = shipped_catalogue().get(task_id), read_preset(preset)
    stream = PresetStream(name=preset, preset=preset, rate_rps=rate_rps)
    return base.model_copy(
        update={
            "task_id": f"{task_id}{WITH}{preset}{AT}{rate_rps:g}",
            "name": f"{base.name}, {preset} at {rate_rps:g} requests/s",
            "description": found.description,
            "variant_of": base.family,
            "workload": WorkloadSpec(streams=(stream,)),
        }
    )


def catalogue_of(task: TaskSpec) -> Catalogue:
    """The shipped tasks, and this one if it is none of them."""
    shipped = shipped_catalogue()
    if task in shipped.playable:
        return shipped
    return shipped.model_copy(update={"variants": (*shipped.variants, task)})


def label_of(task_id: str) -> str:
    """The name of a task for people; raises as `task_of` does."""
    return task_of(task_id).name
