import math

import numpy as np
import pytest

from agents.recommend.journal import blocks_of, blocks_text
from agents.recommend.tallies import (
    BINS,
    SUMS,
    Blocks,
    as_row,
    bins_of,
    from_row,
    interval,
    quantiles_ms,
    run_length,
    saving,
    summarise,
)


def made_up(prices, *, waits_s=(0.2,)):
    """A block a price: 1000 tokens in 60 s, and requests that waited so long."""
    count = len(prices)
    ttft, itl, sums = np.zeros((count, BINS)), np.zeros((count, BINS)), np.zeros((count, len(SUMS)))
    for block, price in enumerate(prices):
        ttft[block] = np.bincount(bins_of(np.array(waits_s)), minlength=BINS)
        itl[block, bins_of(np.array([0.03]))] = 1_000.0
        values = {"requests": 10.0, "met_requests": 9.0, "tokens": 1_000.0, "windows": 60.0}
        for name, value in (values | {"cost_usd": price}).items():
            sums[block, SUMS.index(name)] = value
    return Blocks(ttft, itl, sums)


def test_a_percentile_is_right_within_a_bin():
    seconds = np.random.default_rng(0).lognormal(-2.0, 1.0, 20_000)
    counts = np.bincount(bins_of(seconds), minlength=BINS)[None, :].astype(float)

    assert quantiles_ms(counts, 0.99)[0] == pytest.approx(
        1e3 * np.quantile(seconds, 0.99), rel=0.011
    )


def test_what_never_came_makes_the_percentile_infinite_and_json_none():
    waits = [0.1] * 98 + [math.nan, math.inf]

    summary = summarise(made_up([1.0], waits_s=waits))

    assert summary.p99_ttft_ms == math.inf
    assert as_row(summary)["p99_ttft_ms"] is None
    assert from_row(as_row(summary)) == summary


def test_a_summary_is_over_all_blocks():
    summary = summarise(made_up([1.0, 3.0]))

    assert summary.usd_per_1k == 2.0
    assert summary.met_fraction == 0.9
    assert summary.p99_itl_ms == pytest.approx(30.0, rel=0.011)


def test_an_interval_holds_its_value_and_equal_blocks_leave_none():
    wide, narrow = (
        interval(made_up([1.0, 2.0, 6.0, 3.0]), "usd_per_1k"),
        interval(made_up([2.0] * 4), "usd_per_1k"),
    )

    assert wide.low < wide.value < wide.high
    assert (narrow.low, narrow.value, narrow.high) == (2.0, 2.0, 2.0)


def test_one_block_has_no_interval():
    assert interval(made_up([1.0]), "usd_per_1k").low is None


def test_a_saving_is_paired_by_block():
    prices = [1.0, 2.0, 6.0, 3.0, 9.0]

    found = saving(made_up([0.9 * price for price in prices]), made_up(prices))

    assert (found.low, found.value, found.high) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(("blocks", "length"), [(1, 1), (8, 2), (12, 3), (27, 3), (1000, 10)])
def test_blocks_are_resampled_in_runs_of_the_cube_root(blocks, length):
    assert run_length(blocks) == length


def test_blocks_survive_the_journal():
    blocks = made_up([1.0, 2.5])

    again = blocks_of(blocks_text(blocks))

    assert np.array_equal(again.ttft, blocks.ttft)
    assert np.array_equal(again.sums, blocks.sums)
