import pytest

from scripts.tiny_deployment import arrivals, traffic


@pytest.mark.parametrize("family", ["poisson", "bursts"])
def test_the_mean_rate_is_the_one_that_was_asked_for(family):
    assert len(traffic(family, 2.0, 600.0, seed=0)) == pytest.approx(1_200, rel=0.1)


def test_lengths_vary_and_fit_the_server():
    batch = traffic("poisson", 2.0, 300.0, seed=0)

    assert batch.prompt_tokens.min() < 30
    assert batch.prompt_tokens.max() > 300
    assert (batch.prompt_tokens + batch.output_tokens).max() <= 2_048


def test_another_family_is_refused_by_name():
    with pytest.raises(ValueError, match="must be poisson or bursts, got 'steady'"):
        arrivals("steady", 1.0)
