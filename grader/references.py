"""Strict reader of data/reference_scores.json: how far apart the anchors of the scale lie."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from pydantic import Field

from llmserve_env.errors import NotGradedError
from llmserve_env.models import ServeAction
from llmserve_env.splits import Split
from llmserve_env.tasks import Catalogue, TaskSpec, shipped_catalogue
from llmserve_env.workloads import NonNegative, Positive, Spec

FILE_NAME: Final = "reference_scores.json"


class AgentReference(Spec):
    """Raw scores of one agent over the reference episodes, with a 95 % interval of their mean."""

    raw_mean: float
    raw_sd: NonNegative
    ci_low: float
    ci_high: float


class TaskReference(Spec):
    """The anchors of one task. Gaps are means of differences paired by seed."""

    best_constant: ServeAction
    agents: dict[str, AgentReference]
    gap_above: Positive = Field(description="Raw score, clairvoyant less best constant.")
    gap_below: Positive = Field(description="Raw score, best constant less uniform random.")
    gap_vllm_default: NonNegative = Field(description="Raw score, best constant less the default.")


class ReferenceScores(Spec):
    """The anchors of all tasks of one environment version."""

    environment_version: str
    split: Split
    episodes: int = Field(ge=1, description="Seeds that the means are taken over, per task.")
    note: str = Field(default="", description="What a reader of a score has to know; rarely set.")
    tasks: dict[str, TaskReference]

    def scale(self, task: TaskSpec, environment_version: str) -> TaskReference:
        """The anchors that a task's episodes are graded by.

        Raises:
            NotGradedError: If the task is a variant: the anchors are of the graded tasks.
            ValueError: As `get`.
        """
        if task.variant_of is not None:
            raise NotGradedError(task.task_id)
        return self.get(task.task_id, environment_version)

    def get(self, task_id: str, environment_version: str) -> TaskReference:
        """The anchors of a task in this version of the environment.

        Raises:
            ValueError: If the file was made for another version or lacks the task.
        """
        if self.environment_version != environment_version:
            raise ValueError(
                f"{FILE_NAME}: made for environment_version {self.environment_version!r}, not "
                f"{environment_version!r}; run scripts/make_reference_scores.py"
            )
        if task_id not in self.tasks:
            raise ValueError(f"{FILE_NAME}: no task {task_id!r}; has {', '.join(self.tasks)}")
        return self.tasks[task_id]


def parse_references(text: str, catalogue: Catalogue) -> ReferenceScores:
    """The anchors that a JSON text holds, one entry for each task of the catalogue and no other.

    Raises:
        ValueError: If a field is unknown, missing or out of bounds, the version or the tasks are
            not the catalogue's, or a task does not allow its best constant.
    """
    references = ReferenceScores.model_validate_json(text)
    for task in catalogue.tasks:
        reference = references.get(task.task_id, catalogue.environment_version)
        task.check_action(reference.best_constant)
    unknown = set(references.tasks) - {task.task_id for task in catalogue.tasks}
    if unknown:
        raise ValueError(f"{FILE_NAME}: no such tasks: {', '.join(sorted(unknown))}")
    return references


@cache
def shipped_references() -> ReferenceScores:
    """The anchors of the shipped tasks.

    Raises:
        ValueError: If the file does not belong to the shipped tasks.
    """
    path = resources.files("grader").joinpath("data", FILE_NAME)
    return parse_references(path.read_text(encoding="utf-8"), shipped_catalogue())
