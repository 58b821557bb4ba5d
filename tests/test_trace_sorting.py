import numpy as np
import pytest

from simulator.trace_files.rows import empty_rows
from simulator.trace_files.sorting import RowSorter, spread_within_ticks


def test_rows_in_any_order_over_several_runs_come_out_by_time(tmp_path):
    sorter = RowSorter(tmp_path, run_rows=5_000)
    times = np.random.default_rng(0).integers(0, 3_000, 23_000) * 1_000_000
    for part in np.array_split(np.arange(len(times)), 40):
        rows = empty_rows(len(part))
        rows["time_ns"], rows["prompt_tokens"] = times[part], part
        sorter.add(rows)

    given_back = np.concatenate([rows for rows, _ in sorter.sorted_rows()])

    expected = np.argsort(times, kind="stable")
    assert given_back["prompt_tokens"].tolist() == expected.tolist()
    assert sorter.gaps().step_s == pytest.approx(0.001)


def test_no_row_is_spread_past_the_next_time():
    rows = empty_rows(4)
    rows["time_ns"] = [0, 0, 1_000_000_000, 1_000_000_000]

    seconds, _ = spread_within_ticks(
        rows, first_ns=0, next_ns=1_200_000_000, tick_s=10.0, rng=np.random.default_rng(0)
    )

    assert seconds.tolist() == sorted(seconds.tolist())
    assert 0.0 <= seconds[0] <= seconds[1] < 1.0
    assert 1.0 <= seconds[2] <= seconds[3] < 1.2
