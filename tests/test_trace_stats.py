import numpy as np
import pandas as pd
import pytest

from simulator.trace_stats import trace_stats, width_facts


def write(path, times, prompts, outputs, **more):
    columns = {"timestamp_s": times, "prompt_tokens": prompts, "output_tokens": outputs}
    pd.DataFrame(columns | more).to_parquet(path)
    return path


def test_rates_lengths_and_classes_of_a_small_trace(tmp_path):
    path = write(
        tmp_path / "mine.parquet",
        [0.0, 0.5, 1.0, 4.0],
        [10, 20, 30, 40],
        [1, 2, 3, 4],
        priority=[0, 1, 1, 2],
    )

    stats = trace_stats(path)

    assert (stats.name, stats.requests, stats.duration_s, stats.mean_rps) == ("mine", 4, 4.0, 1.0)
    assert (stats.prompt.mean, stats.prompt.p50, stats.prompt.longest) == (25.0, 25.0, 40)
    assert stats.class_shares == (0.25, 0.5, 0.25)
    assert sum(stats.prompt.histogram) == 4
    assert stats.widths[0].peak_rps == 2.0
    assert stats.widths[0].empty_fraction == 0.5
    assert stats.widths[2].dispersion is None
    assert not stats.is_split


def test_even_arrivals_have_no_dispersion_and_bursts_have_much():
    even = width_facts(np.arange(100.0) + 0.5, 1.0, 100.0)
    bursts = width_facts(np.repeat([0.5, 50.5], 50), 1.0, 100.0)

    assert even.dispersion == pytest.approx(0.0)
    assert bursts.dispersion == pytest.approx(49.0)


def test_a_gap_of_decades_takes_no_memory():
    facts = width_facts(np.array([0.0, 1.7e9]), 1.0, 1.7e9 + 1.0)

    assert facts.dispersion == pytest.approx(1.0)


def test_one_request_alone_has_no_rate(tmp_path):
    stats = trace_stats(write(tmp_path / "one.parquet", [7.0], [5], [5]))

    assert (stats.mean_rps, stats.gap_cv, stats.rate_profile_rps) == (None, None, ())
