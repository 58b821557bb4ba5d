"""Observations as float32 features."""

import numpy as np
import pytest

from llmserve_env.encoding import (
    AVERAGED,
    FEATURE_NAMES,
    FEATURES,
    RAW_NAMES,
    WINDOW_FEATURES,
    FeatureEncoder,
    encode_window,
    raw_values,
)
from simulator.environment import ServingEnvironment
from simulator.vector_engine import compiled_trends
from tests.builders import ACTION, catalogue, task


@pytest.fixture
def observation():
    """After one window of a made-up task."""
    played = ServingEnvironment(catalogue(task()))
    played.reset(task_id="made_up", seed=1)
    return played.step(ACTION | {"speculation_depth": 4, "quantization_tier": "INT8"})


def feature(observation, name):
    return float(encode_window(observation)[FEATURE_NAMES.index(name)])


def trend(features, name):
    return float(features[FEATURE_NAMES.index(name)])


def encoded(observation, *windows):
    """The last of the vectors of a reset and of windows that differ in these fields."""
    encoder = FeatureEncoder()
    encoder.encode(observation)
    return [encoder.encode(observation.model_copy(update=fields)) for fields in windows][-1]


def test_every_feature_has_a_name_of_its_own():
    assert len(FEATURES) == 77
    assert len(WINDOW_FEATURES) == 56
    assert len(set(FEATURE_NAMES)) == 77
    assert FEATURE_NAMES[: len(RAW_NAMES)] == RAW_NAMES


def test_the_clock_and_the_task_are_not_encoded():
    assert not {"step_index", "cost_so_far", "task_id"} & set(FEATURE_NAMES)


def test_the_vector_is_float32_within_0_and_1(observation):
    features = encoded(observation, {}, {})

    assert features.dtype == np.float32
    assert features.shape == (77,)
    assert features.min() >= 0.0
    assert features.max() <= 1.0


@pytest.mark.parametrize(("value", "encoded"), [(0, 0.0), (63, 0.5), (4096, 1.0), (1_000_000, 1.0)])
def test_a_count_is_encoded_by_its_logarithm_and_saturates(observation, value, encoded):
    queued = observation.model_copy(update={"queue_depth": value})

    assert feature(queued, "queue_depth") == pytest.approx(encoded, abs=1e-4)


def test_a_cost_is_encoded_by_its_logarithm_above_a_hundredth_of_a_cent(observation):
    dear = observation.model_copy(update={"estimated_cost_per_1k": 0.0099})

    assert feature(dear, "estimated_cost_per_1k") == pytest.approx(0.5, abs=1e-4)


def test_a_share_is_encoded_as_it_is(observation):
    busy = observation.model_copy(update={"gpu_busy_fraction": 0.25})

    assert feature(busy, "gpu_busy_fraction") == 0.25


def test_memory_is_encoded_as_a_share_of_two_gpus(observation):
    full = observation.model_copy(update={"gpu_memory_used_gb": 40.0})

    assert feature(full, "gpu_memory_used_gb") == 0.25


def test_a_value_without_a_sample_is_0_and_its_flag_says_so(observation):
    silent = observation.model_copy(update={"p50_ttft_ms": None, "p99_ttft_ms": None})

    assert feature(silent, "p99_ttft_ms") == 0.0
    assert feature(silent, "p50_ttft_ms") == 0.0
    assert feature(silent, "has_p99_ttft_ms") == 0.0


def test_a_measured_zero_differs_from_no_sample(observation):
    measured = observation.model_copy(update={"spec_acceptance_rate": 0.0})
    unknown = observation.model_copy(update={"spec_acceptance_rate": None})

    assert feature(measured, "spec_acceptance_rate") == 0.0
    assert feature(measured, "has_spec_acceptance_rate") == 1.0
    assert feature(unknown, "has_spec_acceptance_rate") == 0.0


def test_classes_without_requests_are_flagged_one_by_one(observation):
    mixed = observation.model_copy(
        update={"slo_violation_rate": (0.5, None, 0.0), "priority_distribution": None}
    )

    assert feature(mixed, "slo_violation_rate.0") == 0.5
    assert feature(mixed, "has_slo_violation_rate.0") == 1.0
    assert feature(mixed, "has_slo_violation_rate.1") == 0.0
    assert feature(mixed, "has_slo_violation_rate.2") == 1.0
    assert feature(mixed, "has_priority_distribution.0") == 0.0


def test_the_configuration_in_force_is_part_of_the_vector(observation):
    assert feature(observation, "config.batch_cap") == pytest.approx(0.669, abs=1e-3)
    assert feature(observation, "config.kv_budget_fraction") == 1.0
    assert feature(observation, "config.speculation_depth") == 0.5
    assert feature(observation, "config.quantization_tier.INT8") == 1.0
    assert feature(observation, "config.quantization_tier.FP16") == 0.0
    assert feature(observation, "config.prefill_decode_split") == 0.0


def test_the_binding_constraint_is_one_of_five(observation):
    held = observation.model_copy(update={"binding_constraint": "kv"})

    assert feature(held, "binding_constraint.kv") == 1.0
    assert feature(held, "binding_constraint.none") == 0.0


def test_raw_values_keep_their_units_and_say_none(observation):
    raw = dict(zip(RAW_NAMES, raw_values(observation), strict=True))

    assert raw["config.batch_cap"] == 64
    assert raw["gpu_memory_used_gb"] == observation.gpu_memory_used_gb
    assert raw["slo_violation_rate.0"] is None


class TestTrends:
    def test_every_averaged_feature_has_a_fast_and_a_slow_one(self):
        names = FEATURE_NAMES[len(WINDOW_FEATURES) : -1]

        assert len(names) == 2 * len(AVERAGED)
        assert names[:2] == ("request_arrival_rate.fast", "request_arrival_rate.slow")
        assert [f.newest_fraction for f in FEATURES[len(WINDOW_FEATURES) :][:2]] == [0.5, 0.1]

    def test_the_window_comes_first_as_it_is(self, observation):
        features = encoded(observation, {"queue_depth": 5}, {})

        assert np.array_equal(features[: len(WINDOW_FEATURES)], encode_window(observation))

    def test_they_are_0_at_reset(self, observation):
        features = FeatureEncoder().encode(observation)

        assert not features[len(WINDOW_FEATURES) : -1].any()

    def test_they_begin_at_the_first_window(self, observation):
        features = encoded(observation, {"kv_cache_occupancy": 0.8})

        assert trend(features, "kv_cache_occupancy.fast") == pytest.approx(0.8)
        assert trend(features, "kv_cache_occupancy.slow") == pytest.approx(0.8)

    def test_the_first_windows_weigh_alike_and_later_ones_by_the_speed(self, observation):
        full, empty = {"kv_cache_occupancy": 1.0}, {"kv_cache_occupancy": 0.0}

        features = encoded(observation, full, full, full, empty)

        assert trend(features, "kv_cache_occupancy.fast") == pytest.approx(0.5)
        assert trend(features, "kv_cache_occupancy.slow") == pytest.approx(0.75)

    def test_the_slow_one_forgets_a_tenth_per_window(self, observation):
        full, empty = {"kv_cache_occupancy": 1.0}, {"kv_cache_occupancy": 0.0}

        features = encoded(observation, *([full] * 20), empty, empty)

        assert trend(features, "kv_cache_occupancy.slow") == pytest.approx(0.81)

    def test_a_window_without_a_sample_leaves_them_as_they_are(self, observation):
        known, unknown = {"spec_acceptance_rate": 0.6}, {"spec_acceptance_rate": None}

        features = encoded(observation, unknown, known, unknown, unknown)

        assert trend(features, "spec_acceptance_rate.fast") == pytest.approx(0.6)
        assert trend(features, "spec_acceptance_rate") == 0.0

    def test_a_reset_forgets_them(self, observation):
        encoder = FeatureEncoder()
        first = [encoder.encode(observation) for _ in range(3)][-1]

        encoder.reset()
        again = [encoder.encode(observation) for _ in range(3)][-1]

        assert np.array_equal(first, again)

    def test_rows_do_not_know_each_other(self):
        rng = np.random.default_rng(3)
        windows = rng.random((4, 3, len(WINDOW_FEATURES)), np.float32)
        together, alone = FeatureEncoder(3), FeatureEncoder()

        rows = [together.extend(window)[1] for window in windows]

        assert np.array_equal(rows, [alone.extend(window[1:2])[0] for window in windows])

    def test_compiled_trends_are_the_interpreted_ones_bit_for_bit(self):
        rng = np.random.default_rng(5)
        windows = rng.random((30, 8, len(WINDOW_FEATURES)), np.float32)
        windows[rng.random(windows.shape) < 0.3] = 0.0
        compiled, interpreted = FeatureEncoder(8, trends=compiled_trends), FeatureEncoder(8)

        rows = [compiled.extend(window) for window in windows]

        assert np.array_equal(rows, [interpreted.extend(window) for window in windows])


CALM, SURGE = {"request_arrival_rate": 10.0}, {"request_arrival_rate": 30.0}


class TestSurgeAge:
    def age_windows(self, observation, *windows):
        return 64.0 * trend(encoded(observation, *windows), "request_arrival_rate.surge_age")

    def test_a_surge_that_was_never_seen_is_as_old_as_can_be(self, observation):
        assert self.age_windows(observation, *([CALM] * 5)) == 64.0

    def test_a_window_far_above_the_slow_average_starts_it_anew(self, observation):
        assert self.age_windows(observation, *([CALM] * 5), SURGE) == 0.0

    def test_a_window_less_far_above_does_not(self, observation):
        risen = {"request_arrival_rate": 24.0}

        assert self.age_windows(observation, *([CALM] * 5), risen) == 64.0

    def test_it_counts_windows_up_to_its_horizon(self, observation):
        surge = [*([CALM] * 5), SURGE]

        assert self.age_windows(observation, *surge, *([CALM] * 7)) == 7.0
        assert self.age_windows(observation, *surge, *([CALM] * 90)) == 64.0

    def test_the_first_window_is_compared_with_nothing(self, observation):
        assert self.age_windows(observation, SURGE) == 64.0

    def test_a_higher_rate_that_stays_is_a_surge_only_until_the_average_has_followed(
        self, observation
    ):
        assert self.age_windows(observation, *([CALM] * 20), *([SURGE] * 30)) > 20.0

    def test_a_reset_forgets_it(self, observation):
        encoder = FeatureEncoder()
        for fields in ({}, CALM, CALM, SURGE):
            encoder.encode(observation.model_copy(update=fields))

        encoder.reset()

        assert encoder.encode(observation)[-1] == 1.0
