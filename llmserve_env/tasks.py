"""The task catalogue: a strict reader of data/tasks.toml and data/variants.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from llmserve_env.errors import InactiveActionError, UnknownTaskError
from llmserve_env.models import CLASS_COUNT, KNOBS, ServeAction
from llmserve_env.served_on import OPTION_SEPARATOR, TaskOptions, option_fields, options_of
from llmserve_env.traces import (
    GYMNASIUM_ID,
    TRACE_PREFIX,
    TraceOptions,
    parse_trace_id,
    trace_file,
    trace_stream,
)
from llmserve_env.workloads import NonNegative, Positive, Spec, Stream, WorkloadSpec

PerClass = Annotated[tuple[Positive, ...], Field(min_length=CLASS_COUNT, max_length=CLASS_COUNT)]
SpreadFraction = Annotated[float, Field(ge=0.0, le=0.3)]
# What a variant says of itself; all the rest is its task's.
VARIANT_FIELDS: Final = ("variant_of", "name", "description", "gymnasium_id", "workload")


class SloSpec(Spec):
    """Objectives per priority class 0, 1, 2: time to first token and mean inter-token latency."""

    ttft_ms: PerClass
    itl_ms: PerClass


class DeploymentSpec(Spec):
    """What serves: GPUs, memory granted, engine settings, and how uncertain its speed is."""

    profile: str
    gpus: Literal[1, 2] = 1
    memory_limit_gb: Positive = Field(description="GPU memory granted, per GPU, 10^9 bytes.")
    token_budget: int = Field(ge=1024, le=8192, description="Tokens per iteration at most.")
    max_model_len_tokens: int = Field(ge=16, le=32_768)
    queue_timeout_s: Positive = Field(description="A client gives up waiting for a first token.")
    switch_regime: Literal["standby", "warm", "cold"]
    interconnect: Literal["pcie", "nvlink"] = "nvlink"
    linear_spread: SpreadFraction = 0.0
    attention_spread: SpreadFraction = 0.0
    host_spread: SpreadFraction = 0.0


class RewardSpec(Spec):
    """Weights of the reward's terms; what each term means is in ENVIRONMENT.md."""

    throughput: NonNegative = 0.0
    ttft: NonNegative = 0.0
    slo: NonNegative = 0.0
    memory: NonNegative = 0.0
    cost: NonNegative = 0.0
    stability: NonNegative = 0.0
    violation: NonNegative = 0.0
    preemption: NonNegative = 0.0
    drop: NonNegative = 0.0

    @model_validator(mode="after")
    def _gains_something(self) -> Self:
        if self.gain_weight <= 0.0:
            raise ValueError("one of throughput, ttft, slo, memory, cost, stability must be > 0")
        penalty = self.violation + self.preemption + self.drop
        if penalty > 1.0:
            raise ValueError(
                f"violation + preemption + drop must be at most 1 to keep the reward in [-1, 1], "
                f"got {penalty:g}"
            )
        return self

    @property
    def gain_weight(self) -> float:
        """The sum of the weights of the terms that add to the reward."""
        return self.throughput + self.ttft + self.slo + self.memory + self.cost + self.stability


class TaskSpec(Spec):
    """One task, complete: traffic, deployment, objectives, horizon, knobs and reward."""

    task_id: str
    name: str
    difficulty: Literal["easy", "medium", "hard"]
    description: str
    gymnasium_id: str
    windows: int = Field(ge=1, le=10_000)
    window_s: float = Field(default=1.0, gt=0.0, le=60.0)
    active_actions: tuple[str, ...] = Field(min_length=1)
    default_action: ServeAction = Field(
        description="In force at reset; inactive knobs stay at its values."
    )
    deployment: DeploymentSpec
    slo: SloSpec
    workload: WorkloadSpec
    reward: RewardSpec
    moved_from_plan: tuple[str, ...] = ()
    variant_of: str | None = Field(
        default=None, description="The graded task whose deployment, objectives and reward it has."
    )

    @model_validator(mode="after")
    def _knobs_exist(self) -> Self:
        unknown = [knob for knob in self.active_actions if knob not in KNOBS]
        if unknown:
            raise ValueError(f"unknown knobs {unknown}; known: {', '.join(KNOBS)}")
        if "prefill_decode_split" in self.active_actions and self.deployment.gpus != 2:
            raise ValueError("prefill_decode_split needs a deployment with 2 gpus")
        return self

    @property
    def family(self) -> str:
        """The task that policies are tuned for: of a variant the one that it is a variant of."""
        return self.task_id if self.variant_of is None else self.variant_of

    @property
    def catalogue_id(self) -> str:
        """The id without what was asked for after it."""
        return self.task_id.partition(OPTION_SEPARATOR)[0]

    @property
    def is_trace(self) -> bool:
        """Whether its traffic is a trace or a fit that a user brought."""
        return self.task_id.startswith(TRACE_PREFIX)

    def check_action(self, action: ServeAction) -> None:
        """Refuse an action that moves a knob which this task holds fixed.

        Raises:
            InactiveActionError: Naming the knob, what came and the fixed value.
        """
        for knob in KNOBS:
            got, fixed = getattr(action, knob), getattr(self.default_action, knob)
            if knob not in self.active_actions and got != fixed:
                raise InactiveActionError(self.task_id, knob, got=got, fixed=fixed)


class Catalogue(Spec):
    """All tasks of one environment version.

    Attributes:
        environment_version: What can change a score of `tasks` raises it.
        tasks: Graded; policies are tuned and trained on these.
        variants: The same deployments under other traffic: playable, not graded, never trained on.
    """

    environment_version: str
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    variants: tuple[TaskSpec, ...] = ()

    @property
    def playable(self) -> tuple[TaskSpec, ...]:
        """The graded tasks, then the variants."""
        return self.tasks + self.variants

    def get(self, task_id: str) -> TaskSpec:
        """The task or variant with this id, or an imported trace as a task: `trace:NAME`.

        Options after the id ask for another deployment: `bursty_workload:profile=NAME`; what that
        gives is a variant and not graded.

        Raises:
            UnknownTaskError: Naming the tasks that exist.
            UnknownTraceError: Naming the traces that exist.
            InvalidInputError: If an option is unknown or out of range.
        """
        for task in self.playable:
            if task.task_id == task_id:
                return task
        if task_id.startswith(TRACE_PREFIX):
            name, options = parse_trace_id(task_id)
            return self.trace_task(task_id, trace_file(name), options)
        base_id, *parts = task_id.split(OPTION_SEPARATOR)
        for task in self.playable:
            if parts and task.task_id == base_id:
                return _served_otherwise(task, task_id, parts)
        raise UnknownTaskError(task_id, [task.task_id for task in self.playable])

    def trace_task(self, task_id: str, path: Path, options: TraceOptions) -> TaskSpec:
        """A trace as a task: the deployment, knobs and reward of a graded one, its own traffic.

        Args:
            task_id: Of the task that is made.
            path: The trace, or a fit of one.
            options: How it is played.

        Raises:
            UnknownTaskError: If the options name no graded task.
            InvalidInputError: As `trace_stream`.
        """
        graded = {task.task_id: task for task in self.tasks}
        if options.task not in graded:
            raise UnknownTaskError(options.task, list(graded))
        base = graded[options.task]
        donor = next(each for each in base.workload.streams if isinstance(each, Stream))
        stream = trace_stream(path, options, donor.acceptance)
        objectives = {"ttft_ms": options.ttft_ms, "itl_ms": options.itl_ms}
        changed = {name: values for name, values in objectives.items() if values is not None}
        traffic = WorkloadSpec(load_low=options.load, load_high=options.load, streams=(stream,))
        return base.model_copy(
            update={
                "task_id": task_id,
                "name": f"Trace {path.stem}",
                "description": f"The requests of {path.stem} on the deployment of {base.task_id}.",
                "gymnasium_id": GYMNASIUM_ID,
                "slo": base.slo.model_copy(update=changed),
                **options.changes(base),
                "workload": traffic,
                "variant_of": base.task_id,
                "moved_from_plan": (),
            }
        )


def parse_catalogue(text: str, variants: str = "") -> Catalogue:
    """The catalogue that TOML texts describe; pydantic's error names what is wrong where.

    Args:
        text: As data/tasks.toml.
        variants: As data/variants.toml.

    Raises:
        ValueError: If a text does not describe tasks, or a variant is of no task, has the id of
            one, or says what its task says.
    """
    raw = tomllib.loads(text)
    version = raw.pop("environment_version", None)
    tasks = {task_id: _as_mapping(task_id, body) for task_id, body in raw.items()}
    others = {
        task_id: _as_variant(task_id, _as_mapping(task_id, body), tasks)
        for task_id, body in tomllib.loads(variants).items()
    }
    return Catalogue.model_validate(
        {
            "environment_version": version,
            "tasks": [{"task_id": task_id, **body} for task_id, body in tasks.items()],
            "variants": [{"task_id": task_id, **body} for task_id, body in others.items()],
        }
    )


def _served_otherwise(task: TaskSpec, task_id: str, parts: list[str]) -> TaskSpec:
    """A task on another deployment, under this id."""
    options = options_of(TaskOptions, option_fields(parts), what="task")
    workload = task.workload
    load = {name: getattr(workload, name) * options.load for name in ("load_low", "load_high")}
    told = ", ".join(part.replace("=", " ") for part in parts)
    return task.model_copy(
        update={
            "task_id": task_id,
            "name": f"{task.name}, {told}",
            "description": f"{task.description} Served otherwise: {told}.",
            "variant_of": task.family,
            "moved_from_plan": (),
            "workload": workload.model_copy(update=load),
            **options.changes(task),
        }
    )


def _as_mapping(task_id: str, body: object) -> Mapping[str, object]:
    if not isinstance(body, Mapping):
        raise ValueError(f"{task_id!r} must be a table, got {type(body).__name__}")
    return body


def _as_variant(
    task_id: str, body: Mapping[str, object], tasks: Mapping[str, Mapping[str, object]]
) -> Mapping[str, object]:
    """The fields of a variant: its own, and those of its task."""
    missing = [name for name in VARIANT_FIELDS if name not in body]
    unknown = [name for name in body if name not in VARIANT_FIELDS]
    if missing or unknown:
        raise ValueError(
            f"variant {task_id!r} has {', '.join(VARIANT_FIELDS)}, no less and no more; "
            f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
        )
    parent = str(body["variant_of"])
    if parent not in tasks or task_id in tasks:
        raise ValueError(
            f"variant {task_id!r} of {parent!r} needs an id of its own and one of the tasks: "
            f"{', '.join(tasks)}"
        )
    return {**tasks[parent], **body, "moved_from_plan": ()}


@cache
def shipped_catalogue() -> Catalogue:
    """The tasks and variants that come with the package."""
    folder = resources.files("llmserve_env.data")
    files = (folder.joinpath(name) for name in ("tasks.toml", "variants.toml"))
    return parse_catalogue(*(file.read_text(encoding="utf-8") for file in files))
