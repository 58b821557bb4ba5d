"""The splits hold different seeds, and no more than they hold."""

import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.splits import SPLITS, split_of, split_range, split_seeds


def test_no_two_splits_share_a_seed():
    train, validation, test = (split_range(split) for split in SPLITS)

    assert train.stop <= validation.start
    assert validation.stop <= test.start


def test_seeds_are_counted_from_the_splits_start():
    assert split_seeds("test", 3, start=2) == (2_000_002, 2_000_003, 2_000_004)


def test_a_seed_knows_its_split_and_a_users_own_seed_has_none():
    assert [split_of(seed) for seed in (42, 1_000_000, 2_999_999, 3_000_000)] == [
        "train",
        "validation",
        "test",
        None,
    ]


@pytest.mark.parametrize(("count", "start"), [(0, 0), (1, -1), (2, 999_999)])
def test_seeds_that_a_split_does_not_hold_are_refused(count, start):
    with pytest.raises(InvalidInputError, match="holds seeds 0 to 999999"):
        split_seeds("train", count, start=start)


def test_an_unknown_split_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="unknown split 'dev'; choices: train, validation"):
        split_range("dev")
