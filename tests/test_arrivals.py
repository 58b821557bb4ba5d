import numpy as np
import pytest

from llmserve_env.errors import InvalidInputError
from llmserve_env.workloads import MMPP, NHPP, Bursts, ClientSuperposition, Poisson
from simulator.arrivals import arrival_times, mean_rate_rps
from simulator.rates import StepFunction, constant


def times_of(arrivals, multiplier, *, seed=0):
    return arrival_times(
        arrivals,
        multiplier,
        modulation=np.random.default_rng([seed, 1]),
        placement=np.random.default_rng([seed, 2]),
    )


def test_arrivals_rise_and_lie_in_the_episode():
    times_s = times_of(Poisson(rate_rps=50.0), constant(1.0, 10.0))

    assert np.all(np.diff(times_s) >= 0.0)
    assert times_s[0] >= 0.0
    assert times_s[-1] < 10.0


def test_poisson_gaps_are_exponential():
    gaps_s = np.diff(times_of(Poisson(rate_rps=10.0), constant(1.0, 5_000.0)))

    assert gaps_s.mean() == pytest.approx(0.1, rel=0.02)
    assert gaps_s.std() == pytest.approx(0.1, rel=0.03)
    assert np.mean(gaps_s > 0.1) == pytest.approx(0.3679, abs=0.01)


def test_a_multiplier_of_zero_silences_its_stretch_only():
    silent = StepFunction(np.array([0.0, 100.0, 200.0, 300.0]), np.array([1.0, 0.0, 3.0]))

    counts = np.histogram(times_of(Poisson(rate_rps=10.0), silent), bins=[0, 100, 200, 300])[0]

    assert counts[1] == 0
    assert counts[0] == pytest.approx(1_000, abs=160)
    assert counts[2] == pytest.approx(3_000, abs=275)


def test_a_rate_of_zero_brings_nobody():
    never = MMPP(rates_rps=(0.0,), transitions=((1.0,),))

    assert times_of(never, constant(1.0, 100.0)).tolist() == []


def test_too_many_requests_are_refused_before_they_are_drawn():
    with pytest.raises(InvalidInputError, match=r"poisson arrivals expect 2e\+11 requests"):
        times_of(Poisson(rate_rps=1e9), constant(1.0, 200.0))


def test_mean_rate_of_bursts_adds_their_share_of_time():
    arrivals = Bursts(rate_rps=10.0, burst_rate_rps=100.0, burst_s=3.0, period_s=30.0)

    assert mean_rate_rps(arrivals) == pytest.approx(20.0)


def test_mean_rate_of_a_markov_chain_weighs_its_states():
    arrivals = MMPP(rates_rps=(0.0, 20.0), transitions=((0.9, 0.1), (0.3, 0.7)))

    assert mean_rate_rps(arrivals) == pytest.approx(5.0)


def test_mean_rate_of_a_profile_is_its_average():
    arrivals = NHPP(rate_rps=10.0, multipliers=(0.5, 2.5), segment_s=60.0)

    assert mean_rate_rps(arrivals) == pytest.approx(15.0)


def test_clients_are_sorted_too():
    times_s = times_of(ClientSuperposition(rate_rps=20.0, clients=10), constant(1.0, 50.0))

    assert np.all(np.diff(times_s) >= 0.0)
