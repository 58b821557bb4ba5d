"""The card beside a policy's weights: what it is, how it was made, how good it was."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from agents.ppo.recipe import Recipe
from agents.ppo.validation import TaskResult
from agents.result_files import write_text
from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import Spec


class Card(Spec):
    """How one policy was made.

    Attributes:
        environment_version: Scores are compared within one version only.
        encoding_hash: See policy.encoding_hash; tells features and levels apart.
        features: Count of features that the policy sees.
        tasks: What it was trained on.
        seed: Of the training.
        steps: Windows that were learnt from, all in all.
        chosen_at_steps: Windows learnt from by the policy that was kept.
        wall_s: Seconds that the training took, validation included.
        steps_per_s: Windows learnt from over these seconds.
        validation: What the kept policy reached, by task; biased upwards, it was chosen by it.
        command: What was run.
        libraries: Versions of what computed it.
        recipe: The numbers of the training.
    """

    environment_version: str
    encoding_hash: str
    features: int
    tasks: tuple[str, ...]
    seed: int
    steps: int
    chosen_at_steps: int
    wall_s: float
    steps_per_s: float
    validation: dict[str, TaskResult]
    command: str
    libraries: dict[str, str]
    recipe: Recipe


def card_path(weights: Path) -> Path:
    """Where the card of a policy lies."""
    return weights.with_suffix(".json")


def write_card(weights: Path, card: Card) -> None:
    """Write the card beside the weights, whole or not at all.

    Raises:
        OSError: If the folder cannot be written to.
    """
    write_text(card_path(weights), card.model_dump_json(indent=1) + "\n")


def read_card(weights: Path) -> Card:
    """The card of a policy.

    Raises:
        InvalidInputError: If there is none, or it is no card.
    """
    path = card_path(weights)
    try:
        return Card.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file; train.py writes it") from error
    except ValidationError as error:
        raise InvalidInputError(f"{path}: {error}") from error
