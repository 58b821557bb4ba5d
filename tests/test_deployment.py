from __future__ import annotations

import pytest

from llmserve_env.errors import InvalidInputError
from simulator.deployment import StepCosts, build_deployment, draw_step_costs
from tests import builders


def test_the_kv_pool_is_what_weights_and_activations_leave_of_nine_tenths_of_the_grant() -> None:
    deployment = build_deployment(builders.task(memory_limit_gb=40.0))

    # (0.9 * 40e9 - 16.06e9 - 1.2e9) / (16 tokens * 131072 bytes) = 8935.9
    assert deployment.pool_blocks("FP16") == 8935


def test_a_smaller_tier_leaves_more_room_for_kv() -> None:
    deployment = build_deployment(builders.task(memory_limit_gb=40.0))

    pools = [deployment.pool_blocks(tier) for tier in ("FP16", "INT8", "INT4")]

    assert pools == sorted(pools)


def test_a_tier_whose_weights_do_not_fit_the_grant_is_not_offered() -> None:
    small = {**builders.ACTION, "quantization_tier": "INT8"}

    deployment = build_deployment(builders.task(memory_limit_gb=16.0, default_action=small))

    assert deployment.tiers == ("INT8", "INT4")


def test_a_default_tier_that_does_not_fit_is_refused_naming_the_grant() -> None:
    with pytest.raises(InvalidInputError, match="FP16 does not fit 16 GB"):
        build_deployment(builders.task(memory_limit_gb=16.0))


def test_more_memory_than_the_gpu_has_is_refused_naming_what_it_has() -> None:
    with pytest.raises(InvalidInputError, match=r"100 is more than .* has: 80"):
        build_deployment(builders.task(memory_limit_gb=100.0))


def test_step_costs_without_spread_are_one() -> None:
    assert draw_step_costs(builders.task().deployment, 7) == StepCosts(1.0, 1.0, 1.0)


def test_step_costs_stay_within_their_spread_and_follow_the_seed() -> None:
    spec = builders.task(linear_spread=0.12, attention_spread=0.12, host_spread=0.15).deployment

    first, again, other = (draw_step_costs(spec, seed) for seed in (1, 1, 2))

    assert first == again != other
    assert 0.88 <= first.linear <= 1.12
    assert 0.88 <= first.attention <= 1.12
    assert 0.85 <= first.host <= 1.15
