import numpy as np
import pytest

from llmserve_env.workloads import MMPP, NHPP, Bursts, CoxLogOU, Poisson, Regimes
from simulator.rates import (
    StepFunction,
    constant,
    rate_function,
    regime_path,
    stationary_distribution,
)


def a_rate(arrivals, *, horizon_s=200.0, seed=0):
    return rate_function(arrivals, horizon_s=horizon_s, rng=np.random.default_rng(seed))


def test_step_function_holds_its_value_up_to_the_next_edge():
    steps = StepFunction(np.array([0.0, 2.0, 5.0]), np.array([1.0, 4.0]))

    assert steps.at(np.array([0.0, 1.999, 2.0, 4.999])).tolist() == [1.0, 1.0, 4.0, 4.0]


def test_cumulative_is_the_integral_up_to_each_edge():
    steps = StepFunction(np.array([0.0, 2.0, 5.0]), np.array([1.0, 4.0]))

    assert steps.cumulative().tolist() == [0.0, 2.0, 14.0]


def test_product_has_the_edges_of_both():
    left = StepFunction(np.array([0.0, 2.0, 5.0]), np.array([1.0, 4.0]))
    right = StepFunction(np.array([0.0, 3.0, 5.0]), np.array([10.0, 100.0]))

    product = left.times(right)

    assert product.edges_s.tolist() == [0.0, 2.0, 3.0, 5.0]
    assert product.values.tolist() == [10.0, 40.0, 400.0]


def test_poisson_rate_is_constant():
    rate = a_rate(Poisson(rate_rps=10.0))

    assert rate.edges_s.tolist() == [0.0, 200.0]
    assert rate.values.tolist() == [10.0]


def test_log_ou_rate_has_the_mean_spread_and_memory_it_was_given():
    arrivals = CoxLogOU(rate_rps=10.0, sigma_log_rate=0.5, tau_s=20.0)

    log_rate = np.log(a_rate(arrivals, horizon_s=40_000.0).values)

    assert np.exp(log_rate).mean() == pytest.approx(10.0, rel=0.05)
    assert log_rate.std() == pytest.approx(0.5, rel=0.05)
    assert np.corrcoef(log_rate[:-20], log_rate[20:])[0, 1] == pytest.approx(0.368, abs=0.05)


def test_log_ou_rate_without_spread_is_constant():
    rate = a_rate(CoxLogOU(rate_rps=10.0, sigma_log_rate=0.0, tau_s=20.0))

    assert set(rate.values.tolist()) == {10.0}


def test_stationary_distribution_of_a_chain_that_alternates():
    assert stationary_distribution(((0.0, 1.0), (1.0, 0.0))).tolist() == [0.5, 0.5]


def test_stationary_distribution_balances_the_flows():
    shares = stationary_distribution(((0.9, 0.1), (0.3, 0.7)))

    assert shares.tolist() == pytest.approx([0.75, 0.25])


def test_markov_rate_visits_the_states_by_their_long_run_shares():
    arrivals = MMPP(rates_rps=(0.0, 20.0), transitions=((0.9, 0.1), (0.3, 0.7)))

    rate = a_rate(arrivals, horizon_s=20_000.0)

    assert np.mean(rate.values == 20.0) == pytest.approx(0.25, abs=0.02)


def test_markov_rate_never_makes_a_forbidden_transition():
    ring = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))

    values = a_rate(MMPP(rates_rps=(1.0, 2.0, 3.0), transitions=ring), horizon_s=60.0).values

    assert set(np.diff(values).tolist()) == {1.0, -2.0}


def test_markov_rate_covers_a_horizon_that_is_no_multiple_of_its_step():
    arrivals = MMPP(step_s=4.0, rates_rps=(1.0,), transitions=((1.0,),))

    assert a_rate(arrivals, horizon_s=10.0).edges_s.tolist() == [0.0, 4.0, 8.0, 10.0]


def test_cyclic_rate_repeats_its_profile_from_a_random_offset():
    arrivals = NHPP(rate_rps=10.0, multipliers=(1.0, 2.0), segment_s=30.0)

    rate = a_rate(arrivals)

    assert 0.0 < rate.edges_s[1] < 30.0
    assert set(np.round(np.diff(rate.edges_s)[1:-1], 9)) == {30.0}
    assert set(np.abs(np.diff(rate.values)).tolist()) == {10.0}


def test_cyclic_rate_starts_elsewhere_with_another_seed():
    arrivals = NHPP(rate_rps=10.0, multipliers=(1.0, 2.0), segment_s=30.0)

    assert a_rate(arrivals, seed=1).edges_s[1] != a_rate(arrivals, seed=2).edges_s[1]


def test_bursts_last_as_long_as_stated_and_start_around_the_period():
    arrivals = Bursts(rate_rps=5.0, burst_rate_rps=50.0, burst_s=3.0, period_s=30.0)

    rate = a_rate(arrivals, horizon_s=3_000.0)

    inner = slice(1, -1)
    lengths_s = np.diff(rate.edges_s)[inner][rate.values[inner] == 55.0]
    gaps_s = np.diff(rate.edges_s[1:-1][rate.values[1:] == 55.0])
    assert lengths_s.tolist() == pytest.approx([3.0] * len(lengths_s))
    assert gaps_s.min() >= 15.0
    assert gaps_s.max() <= 45.0
    assert gaps_s.std() > 5.0


def test_bursts_without_jitter_keep_their_period():
    arrivals = Bursts(
        rate_rps=5.0, burst_rate_rps=50.0, burst_s=3.0, period_s=30.0, period_jitter_fraction=0.0
    )

    rate = a_rate(arrivals)

    starts_s = rate.edges_s[1:-1][np.diff(rate.values) > 0.0]
    assert np.diff(starts_s).tolist() == pytest.approx([30.0] * (len(starts_s) - 1))


def test_regimes_change_to_another_state_after_every_dwell():
    regimes = Regimes(
        dwell_low_s=10.0, dwell_high_s=30.0, rate_multipliers=((1.0,), (2.0,), (3.0,))
    )

    edges_s, states = regime_path(regimes, horizon_s=2_000.0, rng=np.random.default_rng(0))

    dwells_s = np.diff(edges_s)[1:-1]
    assert (edges_s[0], edges_s[-1]) == (0.0, 2_000.0)
    assert np.all(np.diff(states) != 0)
    assert set(states.tolist()) == {0, 1, 2}
    assert dwells_s.min() >= 10.0
    assert dwells_s.max() <= 30.0


def test_an_episode_shorter_than_a_dwell_has_one_regime():
    regimes = Regimes(dwell_low_s=500.0, dwell_high_s=500.0, rate_multipliers=((1.0,), (2.0,)))

    edges_s, states = regime_path(regimes, horizon_s=1.0, rng=np.random.default_rng(0))

    assert edges_s.tolist() == [0.0, 1.0]
    assert len(states) == 1


def test_constant_spans_the_horizon():
    assert constant(2.0, 10.0).cumulative().tolist() == [0.0, 20.0]
