from dataclasses import replace

import pytest

from agents.reactive import ReactiveAgent
from agents.reactive_parameters import ReactiveParameters
from llmserve_env.errors import InvalidInputError
from tests.agent_views import seen
from tests.builders import action, task

STILL = ReactiveParameters(
    rise=1.0,
    fall=1.0,
    queue_weight=0.0,
    second_tier_load=3.0,
    third_tier_load=3.0,
    load_margin=0.0,
    dwell_windows=3.0,
    deep_batch=16.0,
    deep_depth=4.0,
    shallow_batch=16.0,
    kv_per_used=1.5,
    kv_per_load=0.0,
    kv_base=0.1,
    kv_slack=0.0,
    batch_cap=96.0,
    priority_load=4.0,
    split_load=4.0,
)
IDLE = {"request_arrival_rate": 0.0, "arrived_requests": 0, "mean_prompt_length": None}
# 40 requests/s of 100 + 200 tokens: more than a GPU does.
FLOOD = seen(request_arrival_rate=40.0, throughput_tps=1_000.0, finished_requests=5)
CALM = seen(**IDLE)


def acts(*observations, gpus=2, **changes):
    agent = ReactiveAgent(replace(STILL, **changes))
    agent.reset(task(gpus=gpus), 0)
    return [agent.act(each) for each in observations]


def test_the_budget_is_a_line_in_what_is_used():
    chosen = acts(seen(**IDLE, kv_cache_occupancy=0.4))[-1]

    assert chosen.kv_budget_fraction == 0.7  # 1.5 x 0.4 + 0.1


def test_the_budget_grows_with_the_load():
    quiet, flooded = acts(CALM, FLOOD, kv_per_load=0.1)

    assert quiet.kv_budget_fraction == 0.4
    assert flooded.kv_budget_fraction > 0.41


def test_the_budget_is_lowered_only_beyond_the_slack():
    used = [seen(**IDLE, kv_cache_occupancy=share) for share in (0.4, 0.3, 0.2)]

    budgets = [each.kv_budget_fraction for each in acts(*used, kv_slack=0.2)]

    assert budgets == [0.7, 0.7, 0.4]


def test_the_budget_rises_at_once():
    used = [seen(**IDLE, kv_cache_occupancy=share) for share in (0.2, 0.21)]

    budgets = [each.kv_budget_fraction for each in acts(*used, kv_slack=0.2)]

    assert budgets == [0.4, 0.42]


def test_a_larger_pool_is_budgeted_as_the_first_tiers():
    first, second = (
        acts(CALM, FLOOD, kv_per_used=0.0, kv_base=0.6, second_tier_load=load)[-1]
        for load in (3.0, 0.1)
    )

    assert (first.quantization_tier, second.quantization_tier) == ("FP16", "INT8")
    assert second.kv_budget_fraction < first.kv_budget_fraction == 0.6


@pytest.mark.parametrize(("batch", "depth"), [(0, 4), (32, 4), (33, 1), (64, 1), (65, 0)])
def test_the_depth_goes_by_the_batch_of_a_gpu(batch, depth):
    assert acts(seen(**IDLE, active_requests=batch))[-1].speculation_depth == depth


def test_tiers_follow_two_thresholds():
    assert acts(FLOOD, second_tier_load=0.2, third_tier_load=0.1)[-1].quantization_tier == "INT4"
    assert acts(FLOOD, second_tier_load=0.2, third_tier_load=3.0)[-1].quantization_tier == "INT8"
    assert acts(CALM, second_tier_load=0.2, third_tier_load=0.1)[-1].quantization_tier == "FP16"


def test_a_switch_waits_for_the_dwell():
    observations = (FLOOD, CALM, CALM, CALM)

    tiers = [each.quantization_tier for each in acts(*observations, second_tier_load=0.2)]

    assert tiers == ["INT8", "INT8", "INT8", "FP16"]


def test_the_margin_keeps_a_switch():
    below = seen(request_arrival_rate=20.0, throughput_tps=1_000.0, finished_requests=5)
    observations, load = (FLOOD, *[below] * 5), 0.5

    kept, taken_back = (
        acts(*observations, second_tier_load=load, load_margin=margin)[-1].quantization_tier
        for margin in (0.8, 0.0)
    )

    assert (kept, taken_back) == ("INT8", "FP16")


def test_the_smoothed_load_rises_and_falls_at_its_own_pace():
    quick = acts(FLOOD, CALM, rise=1.0, fall=0.1, priority_load=0.3)
    slow = acts(FLOOD, CALM, rise=0.1, fall=1.0, priority_load=0.3)

    assert [each.priority_routing for each in quick] == [True, True]
    assert [each.priority_routing for each in slow] == [False, False]


def test_waiting_work_counts_as_load():
    waiting = seen(**IDLE, queue_depth=200)

    assert acts(waiting, queue_weight=1.0, priority_load=0.5)[-1].priority_routing is True
    assert acts(waiting, queue_weight=0.0, priority_load=0.5)[-1].priority_routing is False


def test_two_gpus_are_split_above_the_load_and_one_is_never():
    assert acts(FLOOD, split_load=0.2)[-1].prefill_decode_split is True
    assert acts(FLOOD, split_load=0.2, gpus=1)[-1].prefill_decode_split is False


def test_fixed_knobs_stay():
    agent = ReactiveAgent(replace(STILL, second_tier_load=0.0))
    agent.reset(task(active_actions=["batch_cap"]), 0)

    assert agent.act(FLOOD) == action(batch_cap=96)


def test_a_task_that_was_not_tuned_needs_parameters():
    with pytest.raises(InvalidInputError, match=r"made_up.*scripts.tune_reactive"):
        ReactiveAgent().reset(task(), 0)
