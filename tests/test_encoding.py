"""Observations as float32 features."""

import numpy as np
import pytest

from llmserve_env.encoding import FEATURE_NAMES, FEATURES, RAW_NAMES, encode, raw_values
from simulator.environment import ServingEnvironment
from tests.builders import ACTION, catalogue, task


@pytest.fixture
def observation():
    """After one window of a made-up task."""
    played = ServingEnvironment(catalogue(task()))
    played.reset(task_id="made_up", seed=1)
    return played.step(ACTION | {"speculation_depth": 4, "quantization_tier": "INT8"})


def feature(observation, name):
    return float(encode(observation)[FEATURE_NAMES.index(name)])


def test_every_feature_has_a_name_of_its_own():
    assert len(FEATURES) == 56
    assert len(set(FEATURE_NAMES)) == 56
    assert FEATURE_NAMES[: len(RAW_NAMES)] == RAW_NAMES


def test_the_clock_and_the_task_are_not_encoded():
    assert not {"step_index", "cost_so_far", "task_id"} & set(FEATURE_NAMES)


def test_the_vector_is_float32_within_0_and_1(observation):
    features = encode(observation)

    assert features.dtype == np.float32
    assert features.shape == (56,)
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
