"""OpenEnv's TaskProvider: every seed of a split under every task, by index.

Index i of a split is the i-th pair of seed and task, all tasks of a seed before the next seed.
"""

from __future__ import annotations

from typing import Any, Final, cast

from llmserve_env.errors import InvalidInputError
from llmserve_env.splits import SPLITS, Split, split_range
from llmserve_env.tasks import shipped_catalogue

PREVIEW_TASKS: Final = 60
MAX_RANGE_TASKS: Final = 1000


class SplitTasks:
    """The methods of a TaskProvider, over the shipped tasks. Unknown splits are refused (422)."""

    def list_splits(self) -> list[dict[str, Any]]:
        """The three splits, with their first and last seeds."""
        return [{"name": split, "type": split, "seeds": seed_bounds(split)} for split in SPLITS]

    def num_tasks(self, split: str) -> int:
        """Tasks times seeds."""
        return len(_seeds(split)) * len(shipped_catalogue().tasks)

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """The first tasks of a split, as a preview."""
        return self.get_task_range(split, 0, PREVIEW_TASKS)

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """What to give to reset: `task_id` and `seed`.

        Raises:
            IndexError: If the split has no such index.
        """
        position = range(self.num_tasks(split))[index]
        seed_index, task_index = divmod(position, len(shipped_catalogue().tasks))
        task_id = shipped_catalogue().tasks[task_index].task_id
        seed = _seeds(split)[seed_index]
        return {
            "id": f"{split}/{task_id}/{seed}",
            "index": position,
            "split": split,
            "task_id": task_id,
            "seed": seed,
        }

    def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """The tasks from `start` to before `stop`, as a slice reads them, 1000 at most."""
        positions = range(self.num_tasks(split))[start:stop]
        if len(positions) > MAX_RANGE_TASKS:
            raise InvalidInputError(
                f"start and stop: at most {MAX_RANGE_TASKS} tasks at a time, got {len(positions)}"
            )
        return [self.get_task(split, position) for position in positions]


def seed_bounds(split: str) -> list[int]:
    """The first and the last seed of a split."""
    seeds = _seeds(split)
    return [seeds[0], seeds[-1]]


def _seeds(split: str) -> range:
    return split_range(cast(Split, split))  # refuses what is none
