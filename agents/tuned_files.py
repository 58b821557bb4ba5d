"""Reads and writes what was searched for: constants, KV rules, reactive controllers (.json)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from pydantic import Field, ValidationError

from agents.kv_rule_parameters import KvRuleParameters
from agents.reactive_parameters import ReactiveParameters
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.models import ServeAction
from llmserve_env.tasks import TaskSpec
from llmserve_env.workloads import Spec

Chosen = TypeVar("Chosen")
DATA_PACKAGE: Final = "agents.data"
DATA_FOLDER: Final = Path(__file__).parent / "data"


class Provenance(Spec):
    """How a choice was found.

    Attributes:
        command: What was run.
        train_seeds: Count of seeds that candidates were compared on, from the split's start.
        validation_seeds: Count of seeds that the finalists were chosen on, from the split's start.
        candidates: How many settings were tried.
        windows: How many windows were simulated in all.
        train_mean: Mean raw score of the choice on the train seeds of the finalists.
        validation_mean: The same on the validation seeds: biased upwards, it was chosen by it.
        finalists: Validation means of all finalists, best first.
    """

    command: str
    train_seeds: int = Field(ge=1)
    validation_seeds: int = Field(ge=1)
    candidates: int = Field(ge=1)
    windows: int = Field(ge=1)
    train_mean: float
    validation_mean: float
    finalists: tuple[float, ...]


class Choice(Spec, Generic[Chosen]):
    """What was chosen for one task."""

    chosen: Chosen
    provenance: Provenance


class TunedFile(Spec, Generic[Chosen]):
    """The choices for the tasks of one environment version."""

    environment_version: str
    tasks: dict[str, Choice[Chosen]]

    def get(self, task_id: str, *, made_by: str) -> Chosen:
        """The choice for a task.

        Raises:
            InvalidInputError: If none was made, naming the tasks that have one.
        """
        if task_id not in self.tasks:
            raise InvalidInputError(
                f"nothing was tuned for task {task_id!r}; tuned: "
                f"{', '.join(sorted(self.tasks)) or 'none'}; run {made_by}"
            )
        return self.tasks[task_id].chosen

    def with_choice(self, version: str, task_id: str, choice: Choice[Chosen]) -> Self:
        """The file with one task's choice replaced; choices of another version are left out."""
        kept = self.tasks if self.environment_version == version else {}
        return type(self)(environment_version=version, tasks={**kept, task_id: choice})


class BestConstants(TunedFile[ServeAction]):
    """best_constants.json."""


class VariantConstants(TunedFile[ServeAction]):
    """variant_constants.json: of the variants, which are apart because they may come and go."""


class TunedKvRules(TunedFile[KvRuleParameters]):
    """kv_rules.json."""


class TunedReactive(TunedFile[ReactiveParameters]):
    """reactive.json."""


File = TypeVar("File", bound=TunedFile[Any])
FILES: Final[dict[type[Spec], str]] = {
    BestConstants: "best_constants.json",
    VariantConstants: "variant_constants.json",
    TunedKvRules: "kv_rules.json",
    TunedReactive: "reactive.json",
}


def read_tuned(kind: type[File]) -> File:
    """The choices that come with the package, whatever version they were made for.

    Raises:
        InvalidInputError: If the file does not fit the record, naming file and key.
    """
    name = FILES[kind]
    text = resources.files(DATA_PACKAGE).joinpath(name).read_text(encoding="utf-8")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInputError(f"{name}: {error}") from error


def choices_for(kind: type[File], version: str, *, made_by: str) -> File:
    """The choices that come with the package, made for this environment version.

    Raises:
        InvalidInputError: If they were made for another one: scores mean something within a
            version only.
    """
    tuned = read_tuned(kind)
    if tuned.environment_version != version:
        raise InvalidInputError(
            f"{FILES[kind]} was made for environment {tuned.environment_version}, this is "
            f"{version}; run {made_by}"
        )
    return tuned


def constant_for(task: TaskSpec, version: str) -> ServeAction:
    """The best constant action of a task or variant; of a trace that of the task it is played on.

    Played on another deployment, a task has the constant that was best on its own.

    Raises:
        InvalidInputError: If none was searched for under this environment version.
    """
    known_as = task.family if task.is_trace else task.catalogue_id
    made_by = f"python -m scripts.search_constants --task {known_as}"
    if known_as != task.family:
        return choices_for(VariantConstants, version, made_by=made_by).get(
            known_as, made_by=made_by
        )
    return choices_for(BestConstants, version, made_by=made_by).get(known_as, made_by=made_by)


def write_tuned(tuned: File) -> Path:
    """Replace the file in the sources at one stroke and return its path."""
    path = DATA_FOLDER / FILES[type(tuned)]
    write_text(path, tuned.model_dump_json(indent=1) + "\n")
    return path
