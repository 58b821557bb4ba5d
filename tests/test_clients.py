import numpy as np
import pytest

from llmserve_env.workloads import ClientSuperposition
from simulator.clients import client_times
from simulator.rates import StepFunction, constant


def times_of(arrivals, multiplier, *, seed=0):
    return np.sort(
        client_times(
            arrivals,
            multiplier,
            modulation=np.random.default_rng([seed, 1]),
            placement=np.random.default_rng([seed, 2]),
        )
    )


def one_client(**changes):
    return ClientSuperposition(**{"rate_rps": 20.0, "clients": 1} | changes)


@pytest.mark.parametrize("family", ["gamma", "weibull"])
@pytest.mark.parametrize("variation", [0.3, 1.0, 2.5])
def test_gaps_of_one_client_have_the_mean_and_variation_asked_for(family, variation):
    arrivals = one_client(interarrival_cv=variation, interarrival_family=family)

    gaps_s = np.diff(times_of(arrivals, constant(1.0, 2_000.0)))

    assert gaps_s.mean() == pytest.approx(0.05, rel=0.05)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(variation, rel=0.1)


@pytest.mark.parametrize("family", ["gamma", "weibull"])
def test_many_sparse_bursty_clients_bring_the_expected_requests_from_the_start(family):
    arrivals = ClientSuperposition(
        rate_rps=20.0, clients=2_000, interarrival_cv=3.0, interarrival_family=family
    )

    counts = [len(times_of(arrivals, constant(1.0, 10.0), seed=seed)) for seed in range(60)]

    assert np.mean(counts) == pytest.approx(200.0, abs=5 * np.std(counts) / 60**0.5)


def test_the_first_client_has_its_zipf_share():
    alone = ClientSuperposition(rate_rps=3.0, clients=1, interarrival_cv=0.05)
    pair = ClientSuperposition(rate_rps=3.0, clients=2, rate_skew=1.0, interarrival_cv=0.05)

    assert len(times_of(alone, constant(1.0, 100.0))) == pytest.approx(300, abs=2)
    # Two regular clients at 2 and 1 requests per second: two gaps of every three are below 0.5 s.
    gaps_s = np.diff(times_of(pair, constant(1.0, 100.0)))
    assert len(gaps_s) == pytest.approx(300, abs=3)
    assert gaps_s.max() < 0.65


def test_a_regime_speeds_up_the_clients_clock_and_keeps_the_shape_of_the_gaps():
    multiplier = StepFunction(np.array([0.0, 50.0, 100.0]), np.array([0.0, 2.0]))

    times_s = times_of(one_client(interarrival_cv=0.05), multiplier)

    assert times_s.min() >= 50.0
    assert np.diff(times_s).mean() == pytest.approx(0.025, rel=0.01)
    assert np.diff(times_s).max() < 0.035


def test_epochs_change_the_rate_but_not_its_mean():
    arrivals = one_client(epoch_log_sigma=0.7, epoch_s=10.0)

    counts = np.histogram(times_of(arrivals, constant(1.0, 20_000.0)), bins=400)[0]

    assert counts.mean() == pytest.approx(1_000.0, rel=0.1)
    assert counts.var() / counts.mean() > 20.0
