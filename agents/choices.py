"""What people write for agents and tasks on a command line -> names and ids."""

from __future__ import annotations

from collections.abc import Sequence

from llmserve_env.tasks import shipped_catalogue


def split_list(text: str) -> list[str]:
    """The parts between commas; those inside of braces belong to a constant's JSON."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def task_ids_of(names: Sequence[str]) -> list[str]:
    """The ids that are meant, each once: `all` are the graded tasks, `variants` their variants.

    Raises:
        UnknownTaskError: If there is no such task.
    """
    catalogue = shipped_catalogue()
    groups = {"all": catalogue.tasks, "variants": catalogue.variants}
    meant = [task for name in names for task in groups.get(name) or (catalogue.get(name),)]
    return list(dict.fromkeys(task.task_id for task in meant))
