"""The part of a form in which a visitor chooses what is played: task, traffic, seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import gradio as gr

from llmserve_env.errors import InvalidInputError, LLMServeError
from llmserve_env.tasks import TaskSpec
from server.web.own_traces import PREFIX as OWN_TRACE
from server.web.own_traces import OwnTrace
from server.web.traffic import (
    LEAST_RATE_RPS,
    MOST_RATE_RPS,
    OWN,
    PRESET,
    USUAL_RATE_RPS,
    chosen_task,
    task_choices,
    traffic_choices,
)
from server.web.visit import Shared, Visit, checked_seed, status

QUIET: Final[dict[str, Any]] = {"show_progress": "hidden", "api_visibility": "private"}
TRACE_SUFFIXES: Final = [".csv", ".jsonl", ".json", ".parquet", ".gz", ".zst", ".bz2"]


# The place stays while what stands in it is replaced: so it is the place that is announced.
ANNOUNCED: Final = "element.setAttribute('role', 'status')"


def message_place(words: str, elem_id: str) -> gr.HTML:
    """Where a tab says how things go, announced by screen readers whenever it changes."""
    return gr.HTML(words, elem_id=elem_id, js_on_load=ANNOUNCED)


@dataclass(frozen=True, slots=True)
class TrafficForm:
    """The inputs, in the order in which `chosen` takes their values."""

    task: gr.Dropdown
    traffic: gr.Dropdown
    rate: gr.Number
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        """The components."""
        return [self.task, self.traffic, self.rate, self.seed]


def chosen(
    shared: Shared, task_id: str, traffic: str, rate_rps: float | None, seed: float | None
) -> tuple[TaskSpec, int]:
    """The task and the seed that the values of a form stand for.

    Raises:
        LLMServeError: If there is no such task or traffic, or a number is out of range.
    """
    number = checked_seed(seed)
    if traffic.startswith(OWN_TRACE):
        return shared.traces.task(task_id, traffic), number
    return chosen_task(task_id, traffic, rate_rps), number


def traffic_form(
    name: str, task_id: str, seed: int, shared: Shared, visit: gr.State
) -> TrafficForm:
    """The inputs, made inside the current context, with `name` before their element ids."""
    task = gr.Dropdown(task_choices(), value=task_id, label="Task", elem_id=f"{name}-task")
    traffic = gr.Dropdown(
        traffic_choices(task_id), value=OWN, label="Traffic", elem_id=f"{name}-traffic"
    )
    with gr.Row():
        seed_field = gr.Number(
            value=seed, label="Seed", precision=0, minimum=0, min_width=110, elem_id=f"{name}-seed"
        )
        rate = gr.Number(
            value=USUAL_RATE_RPS,
            label="Requests per second",
            minimum=LEAST_RATE_RPS,
            maximum=MOST_RATE_RPS,
            visible=False,
            min_width=140,
            elem_id=f"{name}-rate",
        )
    upload = gr.UploadButton(
        "Upload your own trace", file_types=TRACE_SUFFIXES, size="sm", elem_id=f"{name}-trace"
    )
    told = message_place("", f"{name}-trace-status")
    task.change(_choices, [task, visit], traffic, **QUIET)
    traffic.change(_rate, traffic, rate, **QUIET)
    upload.upload(partial(_import, shared), [upload, task, visit], [told, traffic, visit], **QUIET)
    return TrafficForm(task, traffic, rate, seed_field)


def _choices(task_id: str, visit: Visit | None, value: str = OWN) -> Any:
    own = [] if visit is None else [(trace.label, trace.value) for trace in visit.traces]
    return gr.update(choices=[*traffic_choices(task_id), *own], value=value)


def _rate(traffic: str) -> Any:
    return gr.update(visible=traffic.startswith(PRESET))


async def _import(
    shared: Shared, path: str | None, task_id: str, visit: Visit | None
) -> tuple[Any, ...]:
    visit = visit or Visit()
    try:
        trace = await shared.workers.play(partial(_imported, shared, path))
    except LLMServeError as error:
        return status(str(error), is_error=True), gr.skip(), visit
    visit.traces.append(trace)
    return status(trace.label), _choices(task_id, visit, trace.value), visit


def _imported(shared: Shared, path: str | None) -> OwnTrace:
    if path is None:
        raise InvalidInputError("no file came")
    file = Path(path)
    try:
        return shared.traces.add(file)
    finally:
        file.unlink(missing_ok=True)
