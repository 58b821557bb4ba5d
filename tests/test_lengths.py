import numpy as np
import pytest

from llmserve_env.workloads import Constant, LogNormal, Mixture, MixturePart, Quantiles, Uniform
from simulator.lengths import correlated_uniforms, tokens


def middles(count: int) -> np.ndarray:
    """Evenly spread numbers in (0, 1): a sample without noise."""
    return (np.arange(count) + 0.5) / count


def test_constant_gives_the_same_tokens_for_every_request():
    assert tokens(Constant(tokens=96), np.array([0.0, 0.5, 1.0])).tolist() == [96, 96, 96]


def test_uniform_reaches_both_ends_and_nothing_beyond():
    drawn = tokens(Uniform(low=64, high=66), np.array([0.0, 0.34, 0.99, 1.0]))

    assert drawn.tolist() == [64, 65, 66, 66]


def test_uniform_gives_every_value_alike():
    drawn = tokens(Uniform(low=1, high=4), middles(400))

    assert np.bincount(drawn).tolist() == [0, 100, 100, 100, 100]


def test_lognormal_has_its_median_at_exp_mu():
    lengths = LogNormal(mu=5.2, sigma=1.3, low=32, high=8192)

    assert tokens(lengths, np.array([0.5])).tolist() == [181]


def test_lognormal_is_clamped_to_its_range_even_at_the_extremes():
    lengths = LogNormal(mu=5.2, sigma=1.3, low=32, high=8192)

    assert tokens(lengths, np.array([0.0, 1e-6, 1.0 - 1e-6, 1.0])).tolist() == [32, 32, 8192, 8192]


def test_lognormal_mean_follows_the_textbook():
    drawn = tokens(LogNormal(mu=5.0, sigma=0.5, high=100_000), middles(20_000))

    assert drawn.mean() == pytest.approx(168.17, rel=0.002)


def test_quantiles_are_met_at_their_levels():
    lengths = Quantiles(levels=(0.0, 0.5, 0.9, 1.0), values=(10, 100, 1000, 8000))

    assert tokens(lengths, np.array([0.0, 0.5, 0.9, 1.0])).tolist() == [10, 100, 1000, 8000]


def test_quantiles_are_interpolated_geometrically():
    lengths = Quantiles(levels=(0.0, 1.0), values=(10, 1000))

    assert tokens(lengths, np.array([0.5])).tolist() == [100]


def test_mixture_splits_the_uniforms_by_weight():
    lengths = Mixture(
        parts=(
            MixturePart(weight=7.0, lengths=Uniform(low=32, high=128)),
            MixturePart(weight=3.0, lengths=Uniform(low=4096, high=8192)),
        )
    )

    drawn = tokens(lengths, middles(1000))

    assert np.count_nonzero(drawn <= 128) == 700
    assert drawn.min() == 32
    assert drawn.max() == 8186


def test_mixture_takes_the_ends_of_the_unit_interval():
    lengths = Mixture(
        parts=(
            MixturePart(weight=0.7, lengths=Constant(tokens=10)),
            MixturePart(weight=0.3, lengths=Constant(tokens=20)),
        )
    )

    assert tokens(lengths, np.array([0.0, 1.0])).tolist() == [10, 20]


def test_no_requests_need_no_tokens():
    assert tokens(Uniform(low=1, high=9), np.array([])).tolist() == []


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.6])
def test_uniforms_have_the_rank_correlation_of_their_copula(correlation):
    first, second = correlated_uniforms(
        40_000,
        correlation=correlation,
        first=np.random.default_rng(1),
        second=np.random.default_rng(2),
    )

    # Spearman's rank correlation of a Gaussian copula is (6 / pi) asin(rho / 2).
    expected = {-0.9: -0.8915, 0.0: 0.0, 0.6: 0.5819}[correlation]
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(expected, abs=0.02)


def test_full_correlation_makes_the_two_equal():
    first, second = correlated_uniforms(
        100, correlation=1.0, first=np.random.default_rng(1), second=np.random.default_rng(2)
    )

    assert np.array_equal(first, second)
