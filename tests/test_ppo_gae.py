import numpy as np
import pytest

from agents.ppo.gae import advantages, centred_by_trace


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_advantages_are_the_discounted_sums_worked_out_by_hand():
    # errors: 1 + .5*4 - 2 = 1, 2 + .5*6 - 4 = 1, 3 + .5*8 - 6 = 1; each later one counts a quarter
    found = advantages(
        column(1.0, 2.0, 3.0),
        column(2.0, 4.0, 6.0),
        column(4.0, 6.0, 8.0),
        column(0, 0, 0) > 0,
        gamma=0.5,
        gae_lambda=0.5,
    )

    assert found[:, 0].tolist() == [1.3125, 1.25, 1.0]


def test_the_end_of_an_episode_counts_the_value_of_its_last_observation():
    found = advantages(
        column(1.0), column(2.0), column(10.0), column(1) > 0, gamma=0.5, gae_lambda=1.0
    )

    assert found[0, 0] == 4.0


def test_nothing_of_the_next_episode_flows_back_over_the_end_of_one():
    found = advantages(
        column(1.0, 100.0),
        column(0.0, 0.0),
        column(0.0, 0.0),
        column(1, 0) > 0,
        gamma=1.0,
        gae_lambda=1.0,
    )

    assert found[:, 0].tolist() == [1.0, 100.0]


def test_advantages_are_centred_over_the_replicas_of_a_trace_window_by_window():
    found = np.array([[1.0, 3.0, 10.0, 20.0], [0.0, 0.0, 4.0, 0.0]])

    centred = centred_by_trace(found, 2)

    assert centred.tolist() == [[-1.0, 1.0, -5.0, 5.0], [0.0, 0.0, 2.0, -2.0]]


def test_a_trace_with_one_replica_keeps_its_advantages():
    found = np.array([[1.0, 3.0]])

    assert centred_by_trace(found, 1) is found


@pytest.mark.parametrize("replicas", [2, 4])
def test_centred_advantages_add_up_to_nothing(replicas):
    found = np.random.default_rng(0).normal(size=(3, 8))

    centred = centred_by_trace(found, replicas)

    assert np.allclose(centred.sum(axis=1), 0.0)
