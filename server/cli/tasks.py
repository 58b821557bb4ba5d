"""`llmserve tasks`: what there is to play."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from llmserve_env.tasks import TaskSpec, shipped_catalogue
from server.cli.conventions import AsJson, write_json
from server.cli.screens import screen
from server.knob_labels import knob_labels


def tasks(as_json: AsJson = False) -> None:
    """List the tasks and their variants: what they are about, and which knobs move."""
    catalogue = shipped_catalogue()
    if as_json:
        version = catalogue.environment_version
        write_json(
            {"environment_version": version, "tasks": [_facts(each) for each in catalogue.playable]}
        )
        return
    table = Table(title=f"Tasks of version {catalogue.environment_version}", title_justify="left")
    for heading in ("task", "difficulty", "knobs that move", "served by", "about"):
        table.add_column(heading, overflow="fold")
    for task in catalogue.playable:
        if task is catalogue.tasks[-1]:
            table.add_section()
        table.add_row(
            task.task_id,
            task.difficulty if task.variant_of is None else f"variant of {task.variant_of}",
            ", ".join(task.active_actions),
            f"{task.deployment.gpus} x {task.deployment.profile}",
            task.description,
        )
    screen().print(table)


def _facts(task: TaskSpec) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "name": task.name,
        "description": task.description,
        "difficulty": task.difficulty,
        "is_graded": task.variant_of is None,
        "variant_of": task.variant_of,
        "gymnasium_id": task.gymnasium_id,
        "windows": task.windows,
        "window_s": task.window_s,
        "knobs": knob_labels(task),
        "default_action": task.default_action.model_dump(mode="json"),
        "slo": task.slo.model_dump(mode="json"),
        "gpus": task.deployment.gpus,
        "profile": task.deployment.profile,
        "memory_limit_gb": task.deployment.memory_limit_gb,
    }
