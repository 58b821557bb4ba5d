"""The seeds of the splits: train to learn and tune on, validation to choose by, test to report."""

from __future__ import annotations

from typing import Final, Literal, get_args

from llmserve_env.errors import InvalidInputError

Split = Literal["train", "validation", "test"]

SPLIT_SIZE: Final = 1_000_000
SPLITS: Final[tuple[Split, ...]] = get_args(Split)


def split_range(split: Split) -> range:
    """The seeds of a split; no two splits share one.

    Raises:
        InvalidInputError: If there is no such split.
    """
    if split not in SPLITS:
        raise InvalidInputError(f"unknown split {split!r}; choices: {', '.join(SPLITS)}")
    first = SPLITS.index(split) * SPLIT_SIZE
    return range(first, first + SPLIT_SIZE)


def split_seeds(split: Split, count: int, *, start: int = 0) -> tuple[int, ...]:
    """`count` seeds of a split, from its `start`-th on.

    Raises:
        InvalidInputError: If there is no such split or it does not hold that many seeds.
    """
    seeds = split_range(split)
    if count < 1 or start < 0 or start + count > len(seeds):
        raise InvalidInputError(
            f"split {split!r} holds seeds 0 to {len(seeds) - 1}, got {count} from {start} on"
        )
    return tuple(seeds[start : start + count])


def split_of(seed: int) -> Split | None:
    """The split that a seed belongs to; None beyond all of them."""
    index = seed // SPLIT_SIZE
    return SPLITS[index] if index < len(SPLITS) else None
