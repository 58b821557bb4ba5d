"""A task and its last windows -> what a language model is told before it decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from agents.knobs import KnobMenu
from agents.llm_answer import HOLD, TOOL, ActionReader
from agents.llm_calls import Prompt
from llmserve_env.models import KNOBS, ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec
from simulator.deployment import build_deployment
from simulator.reward import TERMS

# Short forms of the reward's table in ENVIRONMENT.md.
TERM_MEANINGS: Final = {
    "throughput": "share of the output tokens decided in the window whose requests met their SLO",
    "ttft": "mean utility of first tokens: 1 up to half the objective, 0.7 at it, 0 from twice on",
    "slo": "share of requests that met both objectives",
    "memory": "1 - KV memory reserved / largest KV pool in reach; a small kv_budget_fraction pays",
    "cost": "0 if everything granted is reserved, 1 if only the smallest weights are",
    "stability": "1 - share of your knobs that moved in the window",
    "violation": "share of requests decided or overdue that missed an objective",
    "preemption": "preemptions / (preemptions + running)",
    "drop": "dropped / (decided + overdue)",
}
# Column of the table: field of the observation, digits.
COLUMNS: Final = {
    "arrivals_rps": ("request_arrival_rate", 1),
    "prompt_tokens": ("mean_prompt_length", 0),
    "queued": ("queue_depth", 0),
    "running": ("active_requests", 0),
    "kv_used_fraction": ("kv_cache_occupancy", 2),
    "p99_ttft_ms": ("p99_ttft_ms", 0),
    "p99_itl_ms": ("p99_itl_ms", 1),
    "slo_met_fraction": ("slo_compliance_rate", 2),
    "overdue": ("overdue_requests", 0),
    "goodput_tps": ("goodput_tps", 0),
    "gpu_busy_fraction": ("gpu_busy_fraction", 2),
    "preemptions": ("eviction_events", 0),
    "dropped": ("dropped_requests", 0),
    "reward": ("reward", 3),
}


class Briefing:
    """All that a model is told about one task, made once per episode.

    Attributes:
        facts: What holds for the whole episode: deployment, objectives, reward, knobs.
    """

    def __init__(self, menu: KnobMenu, reader: ActionReader) -> None:
        """Write what holds for the whole episode."""
        self._task = menu.task
        self._moving = [knob for knob in KNOBS if menu.moves(knob)]
        self._tool = reader.schema
        lines = [*_deployment_lines(menu.task), *_reward_lines(menu), *_knob_lines(reader)]
        self.facts = "\n".join(lines)
        self._system = f"{self.facts}\n{self._how_to_answer()}"

    def prompt(
        self, windows: Sequence[ServeObservation], *, decisions_left: int, advice: str = ""
    ) -> Prompt:
        """The question after these windows.

        Args:
            windows: The last few, oldest first; at the start of an episode the reset's alone.
            decisions_left: This one included.
            advice: What was wrong with the last answer, if it was refused.
        """
        left = self._task.windows - windows[-1].step_index
        lines = [self.situation(windows), f"Left: {left} windows, {decisions_left} decisions."]
        if advice:
            lines.append(f"Your last answer was refused: {advice}.")
        return Prompt(system=self._system, user="\n".join(lines), tool=self._tool)

    def situation(self, windows: Sequence[ServeObservation]) -> str:
        """The windows as a table, what is in force, what the last one lost; arguments as above."""
        last = windows[-1]
        played = [row for row in windows if row.step_index > 0]
        lines = ["Nothing was served yet."] if not played else _table(played)
        lines.append(f"In force: {self._knobs(last.config)}")
        if played:
            lines.append(_state_line(self._task, last))
        return "\n".join(lines)

    def _knobs(self, action: ServeAction) -> str:
        return json.dumps({knob: getattr(action, knob) for knob in self._moving})

    def _how_to_answer(self) -> str:
        example = {self._moving[0]: getattr(self._task.default_action, self._moving[0]), HOLD: 10}
        return (
            f"Call {TOOL} once. If you cannot call tools, answer with the JSON object of its "
            f"arguments alone, such as {json.dumps(example)}"
        )


def _knob_lines(reader: ActionReader) -> list[str]:
    return [
        "Knobs; those left out stay as they are:",
        *(
            f"- {name}: {_range(schema)} {schema['description']}"
            for name, schema in reader.schema["properties"].items()
        ),
    ]


def _range(schema: dict[str, object]) -> str:
    if "enum" in schema:
        return f"one of {json.dumps(schema['enum'])}."
    if schema["type"] == "boolean":
        return "true or false."
    return f"{schema['type']} {schema['minimum']} to {schema['maximum']}."


def _deployment_lines(task: TaskSpec) -> list[str]:
    spec, profile = task.deployment, build_deployment(task).profile
    ttft = ", ".join(f"{value:g}" for value in task.slo.ttft_ms)
    itl = ", ".join(f"{value:g}" for value in task.slo.itl_ms)
    return [
        f"You control an LLM serving engine for {task.windows} windows of {task.window_s:g} s.",
        f"Task {task.task_id}: {task.description}",
        f"Hardware: {spec.gpus} x {profile.gpu.name}, {spec.memory_limit_gb:g} GB granted per GPU, "
        f"serving {profile.model.name}; {spec.token_budget} tokens per iteration.",
        f"Objectives (SLO) of priority classes 0, 1, 2: time to first token {ttft} ms; mean "
        f"inter-token latency {itl} ms. A client gives up after {spec.queue_timeout_s:g} s.",
    ]


def _reward_lines(menu: KnobMenu) -> list[str]:
    task = menu.task
    gains = task.reward.gain_weight
    lines = []
    for term in TERMS:
        weight = getattr(task.reward, term)
        if weight > 0.0:
            is_penalty = term in ("violation", "preemption", "drop")
            factor = f"-{weight:.2f}" if is_penalty else f"+{weight / gains:.2f}"
            lines.append(f"{factor} x {term}: {TERM_MEANINGS[term]}")
    if menu.moves("quantization_tier"):
        profile = build_deployment(task).profile
        kept = ", ".join(f"{tier} {profile.tier(tier).quality:.2f}" for tier in menu.tiers)
        lines.append(f"throughput, ttft and slo are multiplied by the tier's quality: {kept}")
    return ["Reward of a window, to be maximised over all windows:", *lines]


def _table(windows: Sequence[ServeObservation]) -> list[str]:
    rows = [
        ",".join(
            [
                str(window.step_index),
                *(_cell(getattr(window, field), digits) for field, digits in COLUMNS.values()),
                window.binding_constraint,
            ]
        )
        for window in windows
    ]
    return [f"Last windows (percentiles over 10):\nwindow,{','.join(COLUMNS)},held_by", *rows]


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _state_line(task: TaskSpec, last: ServeObservation) -> str:
    """What the last window lost, and by what."""
    terms = last.metadata.get("reward_terms", {})
    weighed = [term for term in TERMS if term in terms and getattr(task.reward, term) > 0.0]
    told = ", ".join(f"{term} {terms[term]:.2f}" for term in weighed)
    parts = [f"Terms of the last window: {told}."] if told else []
    missed = [f"class {i} {rate:.2f}" for i, rate in enumerate(last.slo_violation_rate) if rate]
    if missed:
        parts.append(
            f"Missed objectives: {', '.join(missed)}; requests were held back by "
            f"{last.binding_constraint}, the oldest waits {last.oldest_wait_ms:.0f} ms."
        )
    if last.switch_remaining_s > 0.0:
        parts.append(f"A switch runs for another {last.switch_remaining_s:.1f} s.")
    return " ".join(parts)
