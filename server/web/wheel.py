"""The sub-tab on which a person sets the knobs, against the ghost of an agent."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any, Final

import gradio as gr

from llmserve_env.charts.figures import figures
from llmserve_env.charts.gauges import gauges
from llmserve_env.charts.lanes import BOUNDS
from llmserve_env.charts.styles import look_of
from llmserve_env.errors import LLMServeError
from llmserve_env.models import KNOBS, TIERS, GradeReport, ServeAction
from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.web.form import chosen, message_place, traffic_form
from server.web.race import agent_choices, check_agents, plans_ahead
from server.web.seat import Seat
from server.web.story import story_of_last
from server.web.visit import Shared, Visit, links, status
from simulator.deployment import build_deployment
from simulator.environment import parse_record

FIRST_TASK, FIRST_SEED, FIRST_GHOST = "bursty_workload", 7, "heuristic"
JUMP: Final = 10
WELCOME: Final = (
    "Press Start, set the knobs, and step through the traffic, 1 or 10 windows at once."
)
# Components that every event of the tab writes: status, instruments, charts, files, visit.
Shown = tuple[Any, ...]


def build_wheel(shared: Shared, visit: gr.State) -> None:
    """Make the sub-tab inside the current context."""
    with gr.Row(elem_classes="ls-card"):
        with gr.Column(scale=3, min_width=280):
            form = traffic_form("wheel", FIRST_TASK, FIRST_SEED, shared, visit)
        with gr.Column(scale=4, min_width=280):
            ghost = gr.Dropdown(
                [(look_of(name).label, name) for name in agent_choices()],
                value=FIRST_GHOST,
                label="Ghost",
                info="Plays the same requests; you see what it did up to your window.",
                elem_id="wheel-ghost",
            )
            start = gr.Button("Start", variant="primary", elem_id="wheel-start")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=290, elem_classes="ls-card"):
            knobs = _knob_inputs(shipped_catalogue().get(FIRST_TASK))
            with gr.Row():
                one = gr.Button("Step 1", variant="primary", min_width=90, elem_id="wheel-one")
                ten = gr.Button(f"Step {JUMP}", min_width=90, elem_id="wheel-ten")
            copy = gr.Button("Set the knobs as the ghost does", size="sm", elem_id="wheel-copy")
        with gr.Column(scale=4, min_width=290):
            told = message_place(status(WELCOME), "wheel-status")
            panel = gr.HTML(elem_id="wheel-panel")
            files = gr.HTML(elem_id="wheel-files")
    charts = gr.HTML(elem_id="wheel-charts")
    shown = [told, panel, charts, files, visit]
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": 16,
        "concurrency_id": "wheel",
    }
    inputs = [*form.inputs, ghost, visit]
    start.click(partial(_start, shared), inputs, [*shown, *knobs], trigger_mode="once", **quiet)
    for button, windows in ((one, 1), (ten, JUMP)):
        button.click(
            partial(_step, shared, windows), [*knobs, visit], shown, trigger_mode="once", **quiet
        )
    copy.click(_as_the_ghost, [visit], [told, *knobs], **quiet)


def _knob_inputs(task: TaskSpec) -> list[Any]:
    """An input per knob, in the order of KNOBS, at the task's default."""
    cap, kv, depth = (BOUNDS[knob] for knob in KNOBS[:3])
    fields = {"batch_cap": cap, "kv_budget_fraction": kv, "speculation_depth": depth}
    steps = {"batch_cap": 1, "kv_budget_fraction": 0.01, "speculation_depth": 1}
    labels = {
        "batch_cap": ("Batch cap", "Sequences that run at once, per replica."),
        "kv_budget_fraction": ("KV budget", "Share of the KV pool that may fill, and is paid for."),
        "speculation_depth": ("Speculation depth", "Draft tokens per step; 0 is off."),
    }
    inputs: list[Any] = [
        gr.Slider(
            bounds["minimum"],
            bounds["maximum"],
            value=getattr(task.default_action, knob),
            step=steps[knob],
            label=labels[knob][0],
            info=labels[knob][1],
            elem_id=f"knob-{knob}",
        )
        for knob, bounds in fields.items()
    ]
    inputs.append(
        gr.Radio(
            list(TIERS),
            value=task.default_action.quantization_tier,
            label="Quantization tier",
            info="Switching it stops the engine for seconds.",
            elem_id="knob-quantization_tier",
        )
    )
    for knob, label, info in (
        ("prefill_decode_split", "Prefill/decode split", "One replica prefills, one decodes."),
        ("priority_routing", "Priority routing", "Premium requests first."),
    ):
        value = getattr(task.default_action, knob)
        inputs.append(gr.Checkbox(value, label=label, info=info, elem_id=f"knob-{knob}"))
    for knob, made in zip(KNOBS, inputs, strict=True):
        made.interactive = knob in task.active_actions
    return inputs


async def _start(
    shared: Shared,
    task_id: str,
    traffic: str,
    rate_rps: float | None,
    seed: float | None,
    ghost: str,
    visit: Visit | None,
) -> Shown:
    visit = visit or Visit()
    try:
        task, number = chosen(shared, task_id, traffic, rate_rps, seed)
        check_agents([ghost])
        work = shared.workers.plan if plans_ahead(ghost) else shared.workers.play
        visit.seat = await work(partial(Seat, task, number, ghost))
    except LLMServeError as error:
        unchanged = [gr.skip()] * (3 + len(KNOBS))
        return status(str(error), is_error=True), *unchanged[:3], visit, *unchanged[3:]
    words = (
        f"{task.name}, seed {number}: {task.windows} windows of {task.window_s:g} s. "
        f"{task.description}"
    )
    charts = figures(visit.seat.panels(), tables=False)
    panel = gauges(task, visit.seat.last)
    return status(words), panel, charts, "", visit, *_knob_updates(task, task.default_action)


async def _step(shared: Shared, windows: int, *values: Any) -> Shown:
    *settings, visit = values
    if visit is None or visit.seat is None:
        same = gr.skip()
        return status("Press Start first: no episode runs.", is_error=True), same, same, same, visit
    seat: Seat = visit.seat
    try:
        action = _action(seat.task, settings)
        return *await shared.workers.play(partial(_stepped, shared, seat, action, windows)), visit
    except LLMServeError as error:
        same = gr.skip()
        return status(str(error), is_error=True), same, same, same, visit


def _stepped(shared: Shared, seat: Seat, action: ServeAction, windows: int) -> Shown:
    if seat.last.done:
        return status("The episode is over. Press Start for another."), *[gr.skip()] * 3
    seat.step(action, windows)
    panel = gauges(seat.task, seat.last) + story_of_last(seat.task, seat.windows)
    files: Any = ""
    if seat.last.done:
        panel = _final(seat) + panel
        name = f"wheel_{seat.task.task_id}_seed{seat.seed}"
        files = links(shared.downloads, name, seat.saved(), seat.panels())
    return status(_words(seat)), panel, figures(seat.panels()), files


def _words(seat: Seat) -> str:
    you, ghost = (
        sum(window.reward or 0.0 for window in windows)
        for windows in (seat.windows, seat.ghost.windows[: len(seat.windows)])
    )
    name = look_of(seat.ghost.name).label
    lead = "You lead" if you > ghost else f"{name} leads"
    return (
        f"Window {len(seat.windows)} of {seat.task.windows}. Reward so far: you {you:.1f}, {name} "
        f"{ghost:.1f}. {lead}."
    )


def _final(seat: Seat) -> str:
    """HTML of both grades and what cost most; of the mean rewards where there is no grade."""
    name = escape(look_of(seat.ghost.name).label)
    if seat.report is None or seat.ghost.report is None:
        mean = sum(window.reward or 0.0 for window in seat.windows) / len(seat.windows)
        return (
            f'<section class="ls-grade"><p><strong>{mean:.3f}</strong> mean reward of a window. '
            "This traffic has no grade: nobody measured its anchors.</p></section>"
        )
    feedback = "".join(f"<li>{escape(line)}</li>" for line in seat.report.feedback)
    return (
        f'<section class="ls-grade" aria-label="Your grade"><p><strong>{_score(seat.report)}'
        f"</strong> is your grade; {name} got {_score(seat.ghost.report)}. 0 is random, 0.5 the "
        f"best fixed setting on this traffic, 1 the clairvoyant planner.</p><ul>{feedback}</ul>"
        "</section>"
    )


def _score(report: GradeReport) -> str:
    return f"{report.score:.3f}"


def _as_the_ghost(visit: Visit | None) -> Shown:
    if visit is None or visit.seat is None:
        return status("Press Start first: no ghost plays.", is_error=True), *[gr.skip()] * len(
            KNOBS
        )
    action = visit.seat.ghost_setting()
    words = f"The knobs are as {look_of(visit.seat.ghost.name).label} has them. Step to hold them."
    return status(words), *_knob_updates(visit.seat.task, action)


def _knob_updates(task: TaskSpec, action: ServeAction) -> list[Any]:
    tiers = list(build_deployment(task).tiers)
    updates = []
    for knob in KNOBS:
        more: dict[str, Any] = {"choices": tiers} if knob == "quantization_tier" else {}
        is_free = knob in task.active_actions
        updates.append(gr.update(value=getattr(action, knob), interactive=is_free, **more))
    return updates


def _action(task: TaskSpec, settings: list[Any]) -> ServeAction:
    """The action that the inputs stand for.

    Raises:
        InvalidInputError: If a value is missing or out of range.
        InactiveActionError: If the task holds a knob fixed elsewhere.
    """
    fields = dict(zip(KNOBS, settings, strict=True))
    for knob in ("batch_cap", "speculation_depth"):
        # Sliders send whole numbers as floats at times.
        if isinstance(fields[knob], float) and fields[knob].is_integer():
            fields[knob] = int(fields[knob])
    if isinstance(fields["kv_budget_fraction"], int):
        fields["kv_budget_fraction"] = float(fields["kv_budget_fraction"])
    action = parse_record(ServeAction, fields)
    task.check_action(action)
    return action
