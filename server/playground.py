"""What OpenEnv's playground shows of an observation, and the settings it offers at one click."""

from __future__ import annotations

from html import escape

from agents.tuned_files import constant_for
from llmserve_env.charts.figures import framed, style
from llmserve_env.charts.gauges import gauges
from llmserve_env.explanation import explain_window
from llmserve_env.models import ServeAction, ServeObservation
from llmserve_env.tasks import TaskSpec, shipped_catalogue


def drawn(task: TaskSpec, seen: ServeObservation) -> str:
    """HTML of the instruments after a window, and a sentence on what held requests back."""
    sentence = escape(explain_window(task, None, seen).held_by)
    place = f"{escape(task.name)}, window {seen.step_index} of {task.windows}"
    return (
        f"{style()}{framed(f'<h3>{place}</h3>')}{gauges(task, seen)}{framed(f'<p>{sentence}</p>')}"
    )


def quick_settings(task: TaskSpec, seen: ServeObservation) -> list[tuple[str, ServeAction]]:
    """Settings to step with, as (label, action): the one in force first."""
    return [
        ("Hold what is in force", seen.config),
        ("vLLM defaults", task.default_action),
        ("Best constant found", constant_for(task, shipped_catalogue().environment_version)),
    ]
