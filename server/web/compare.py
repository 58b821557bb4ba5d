"""The sub-tab on which agents play the same traffic, live, and are ranked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import gradio as gr

from agents.registry import agent_entry
from llmserve_env.charts.figures import figures
from llmserve_env.charts.styles import look_of
from llmserve_env.errors import LLMServeError
from server.web.form import chosen, message_place, traffic_form
from server.web.html import AGENTS_NOTE, SCALE_NOTE
from server.web.race import Race, agent_choices, check_agents, plans_ahead
from server.web.visit import Shared, Visit, links, status

FRAMES: Final = 25
OPENING_AGENTS: Final = ("vllm_default", "heuristic", "ppo")
OPENING_TASK, OPENING_SEED = "bursty_workload", 42
MOST_RUNS: Final = 16


def opening_race(task: Any) -> Race:
    """A whole comparison of the usual agents, those of them that there are."""
    race = Race(task, OPENING_SEED)
    for name in opening_agents():
        race.join(name)
    race.advance(task.windows)
    return race


def opening_agents() -> list[str]:
    """The agents that are chosen at first: policies only where their weights lie."""
    return [name for name in OPENING_AGENTS if name in agent_choices()]


def build_compare(shared: Shared, visit: gr.State) -> None:
    """Make the sub-tab inside the current context."""
    with gr.Row(elem_classes="ls-card"):
        with gr.Column(scale=3, min_width=280):
            form = traffic_form("compare", OPENING_TASK, OPENING_SEED, shared, visit)
        with gr.Column(scale=4, min_width=280):
            agents = gr.CheckboxGroup(
                choices=[(look_of(name).label, name) for name in agent_choices()],
                value=opening_agents(),
                label="Agents",
                info="Up to six, all on the same requests. Planners think before they act.",
                elem_id="compare-agents",
            )
            with gr.Row():
                run = gr.Button("Run live", variant="primary", elem_id="compare-run")
                stop = gr.Button("Stop", elem_id="compare-stop", scale=0, min_width=90)
    told = message_place(status(_opening_words(shared.opening)), "compare-status")
    ranked = gr.HTML(shared.opening.ranking(), elem_id="compare-ranking", padding=False)
    gr.HTML(SCALE_NOTE)
    charts = gr.HTML(figures(shared.opening.panels()), elem_id="compare-charts")
    files = gr.HTML(_links(shared, shared.opening), elem_id="compare-files")
    with gr.Accordion("Who are these agents?", open=False):
        gr.HTML(AGENTS_NOTE.format(rows=_agent_rows()))
    event = run.click(
        partial(_run, shared),
        inputs=[*form.inputs, agents, visit],
        outputs=[told, ranked, charts, files, visit],
        trigger_mode="once",
        concurrency_limit=MOST_RUNS,
        concurrency_id="runs",
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(None, cancels=[event], api_visibility="private")


async def _run(
    shared: Shared,
    task_id: str,
    traffic: str,
    rate_rps: float | None,
    seed: float | None,
    agents: Sequence[str],
    visit: Visit | None,
) -> AsyncIterator[tuple[Any, ...]]:
    visit = visit or Visit()
    same = gr.skip()
    try:
        task, number = chosen(shared, task_id, traffic, rate_rps, seed)
        check_agents(agents)
        race = Race(task, number)
        for name in agents:
            yield (
                status(f"{look_of(name).label} gets ready{_patience(name)}"),
                same,
                same,
                "",
                visit,
            )
            work = shared.workers.plan if plans_ahead(name) else shared.workers.play
            await work(partial(race.join, name))
        visit.race = race
        while not race.is_over:
            shown = await shared.workers.play(partial(_frame, race))
            yield *shown, same, visit
        ranked, drawn = await shared.workers.play(partial(_last_frame, race))
        yield status(_done_words(race)), ranked, drawn, _links(shared, race), visit
    except LLMServeError as error:
        yield status(str(error), is_error=True), same, same, same, visit


def _frame(race: Race) -> tuple[str, str, str]:
    race.advance(max(race.task.windows // FRAMES, 1))
    words = f"{race.task.name}, seed {race.seed}: window {race.played} of {race.task.windows}"
    return status(words), race.ranking(), figures(race.panels(), tables=False)


def _last_frame(race: Race) -> tuple[str, str]:
    return race.ranking(), figures(race.panels())


def _links(shared: Shared, race: Race) -> str:
    name = f"{race.task.task_id}_seed{race.seed}"
    return links(shared.downloads, name, race.saved(), race.panels())


def _patience(name: str) -> str:
    return ": it plans the whole episode, which takes about half a minute" * plans_ahead(name)


def _done_words(race: Race) -> str:
    agents = len(race.lanes)
    whose = "1 agent" if agents == 1 else f"{agents} agents"
    return (
        f"Done: {whose} on {race.task.name}, seed {race.seed}, {race.task.windows} windows of "
        f"{race.task.window_s:g} s each. See why on the tab Why?"
    )


def _opening_words(race: Race) -> str:
    return (
        f"Played when this server started: {race.task.name}, seed {race.seed}. Choose and press "
        "Run live to play your own."
    )


def _agent_rows() -> str:
    return "".join(
        f"<dt>{look_of(name).label}</dt><dd>{agent_entry(name).description}</dd>"
        for name in agent_choices()
    )
