"""Fits recover what drew the counts, and a report shows the trace beside the fit."""

import numpy as np
import pandas as pd
import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import MMPP, CoxLogOU
from simulator.arrival_fits import (
    dispersion_curve,
    fit_daily,
    fit_log_ou,
    fit_mmpp,
    log_ou_dispersion,
    mmpp_dispersion,
)
from simulator.arrivals import arrival_times
from simulator.rates import constant
from simulator.trace_fit import fit_trace, length_quantiles
from simulator.traces import read_trace

SWITCHING = MMPP(rates_rps=(0.5, 20.0), transitions=((0.95, 0.05), (0.2, 0.8)))
RESTLESS = CoxLogOU(rate_rps=20.0, sigma_log_rate=0.3, tau_s=5.0)
DRIFTING = CoxLogOU(rate_rps=20.0, sigma_log_rate=0.5, tau_s=30.0)


def counts_of(arrivals, seconds):
    times_s = arrival_times(
        arrivals,
        constant(1.0, float(seconds)),
        modulation=np.random.default_rng(1),
        placement=np.random.default_rng(2),
    )
    return np.bincount(times_s.astype(int), minlength=seconds)


@pytest.mark.parametrize(
    ("arrivals", "modelled"), [(SWITCHING, mmpp_dispersion), (RESTLESS, log_ou_dispersion)]
)
def test_the_formulas_of_dispersion_agree_with_draws(arrivals, modelled):
    curve = dispersion_curve(counts_of(arrivals, 60_000))

    assert modelled(arrivals, 1) == pytest.approx(curve[1], rel=0.1)
    assert modelled(arrivals, 10) == pytest.approx(curve[10], rel=0.1)
    assert modelled(arrivals, 60) == pytest.approx(curve[60], rel=0.15)


def test_switching_rates_are_found_again():
    found = fit_mmpp(counts_of(SWITCHING, 8_000), 2)

    assert found.rates_rps == pytest.approx((0.5, 20.0), rel=0.1)
    assert found.transitions[0][1] == pytest.approx(0.05, rel=0.2)
    assert found.transitions[1][0] == pytest.approx(0.2, rel=0.2)


def test_a_drifting_rate_is_found_again():
    found = fit_log_ou(counts_of(DRIFTING, 40_000))

    assert found.rate_rps == pytest.approx(20.0, rel=0.05)
    assert found.sigma_log_rate == pytest.approx(0.5, rel=0.15)
    assert found.tau_s == pytest.approx(30.0, rel=0.3)


def test_the_hours_of_days_become_a_profile():
    hourly = np.repeat(np.arange(24), 3600) // 12
    found = fit_daily(np.tile(hourly, 3))

    assert found.rate_rps == pytest.approx(0.5)
    assert found.multipliers[:12] == (0.0,) * 12
    assert found.multipliers[12:] == (2.0,) * 12
    assert found.cycle_log_sigma == 0.0


def test_lengths_are_kept_from_the_shortest_to_the_longest():
    quantiles = length_quantiles(np.array([3, 5, 5, 900]))

    assert (quantiles.values[0], quantiles.values[-1]) == (3.0, 900.0)
    assert quantiles.values[quantiles.levels.index(0.5)] == 5.0


def write(path, times_s):
    rng = np.random.default_rng(3)
    prompts = rng.integers(50, 500, len(times_s))
    columns = {"timestamp_s": times_s, "prompt_tokens": prompts, "output_tokens": prompts // 5}
    pd.DataFrame(columns).to_parquet(path)
    return read_trace(path)


@pytest.mark.slow
def test_bursts_are_fitted_by_switching_rates_and_the_check_shows_it(tmp_path):
    counts = counts_of(SWITCHING, 1_500)
    times_s = np.repeat(np.arange(1_500.0), counts) + np.random.default_rng(4).random(counts.sum())
    trace = write(tmp_path / "bursts.parquet", np.sort(times_s))

    report = fit_trace(trace, source="made up", licence="none")

    checked = {row.quantity: row for row in report.check}
    assert report.preset.arrivals.family == "mmpp"
    assert checked["dispersion, 10 s"].fit == pytest.approx(
        checked["dispersion, 10 s"].trace, rel=0.3
    )
    assert checked["prompt tokens, p50"].fit == pytest.approx(
        checked["prompt tokens, p50"].trace, rel=0.05
    )
    assert report.preset.prompt_output_correlation > 0.95


def test_a_trace_of_few_requests_is_not_fitted(tmp_path):
    trace = write(tmp_path / "few.parquet", np.arange(150.0))

    with pytest.raises(InvalidInputError, match=r"few\.parquet: a fit needs 200 requests or more"):
        fit_trace(trace, source="made up", licence="none")
