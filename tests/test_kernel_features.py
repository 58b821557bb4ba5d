"""The compiled path to the features says what the observation says."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmserve_env.encoding import (
    RAW_NAMES,
    WINDOW_FEATURES,
    encode_window,
    raw_values,
    write_features,
)
from simulator.environment import ServingEnvironment
from simulator.kernel_features import RAW, encode_rows, raw_rows
from tests.builders import catalogue, stream, task
from tests.strategies import actions


def start(seed, **traffic):
    made = task(gpus=2, windows=8, workload={"streams": [stream(**traffic)]})
    played = ServingEnvironment(catalogue(made))
    played.reset(task_id="made_up", seed=seed)
    return played


def raw_of(played):
    state = played.simulator.engine.state
    raw = np.zeros(1, RAW)
    raw_rows(state.environments, state.metrics, raw)
    return raw.view(np.float64)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate_rps=st.sampled_from([0.3, 5.0, 60.0]),
    shares=st.sampled_from([(1.0, 0.0, 0.0), (0.2, 0.5, 0.3)]),
    played_actions=st.lists(actions(2), min_size=8, max_size=8),
)
def test_values_and_features_equal_those_of_the_observation(seed, rate_rps, shares, played_actions):
    played = start(
        seed, arrivals={"family": "poisson", "rate_rps": rate_rps}, priority_shares=shares
    )

    for chosen in played_actions:
        observation = played.step(chosen)

        seen = np.array(raw_values(observation), np.float64)
        assert np.array_equal(raw_of(played), seen, equal_nan=True)
        assert np.array_equal(played.features(), encode_window(observation))


def test_features_before_the_first_window_equal_those_of_the_observation():
    played = start(3)

    assert np.array_equal(played.features(), encode_window(played.observation))


def test_a_clones_features_are_its_own():
    played = start(3)
    played.step(played.observation.config)
    twin = played.clone()
    before = played.features()

    twin.step(twin.observation.config)

    assert np.array_equal(played.features(), before)
    assert not np.array_equal(twin.features(), before)


def test_compiled_and_interpreted_encodings_agree_on_many_rows():
    rng = np.random.default_rng(7)
    raw = rng.lognormal(2.0, 4.0, (500, len(RAW_NAMES)))
    raw[rng.random(raw.shape) < 0.2] = np.nan
    interpreted = np.empty((500, len(WINDOW_FEATURES)), np.float32)
    compiled = np.empty_like(interpreted)

    write_features(raw, interpreted)
    encode_rows(raw, compiled)

    assert np.array_equal(interpreted, compiled)
