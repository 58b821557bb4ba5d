import pytest

from agents.heuristic import HeuristicAgent
from tests.agent_views import seen
from tests.builders import action, task


def last(*observations, spec=None, repeat=1):
    agent = HeuristicAgent()
    agent.reset(task(gpus=2) if spec is None else spec, 0)
    for each in observations:
        for _ in range(repeat):
            chosen = agent.act(each)
    return chosen


BUSY = {"request_arrival_rate": 90.0, "throughput_tps": 9_000.0, "finished_requests": 45}


def test_it_starts_with_the_default():
    assert last(seen(step_index=0)) == action()


@pytest.mark.parametrize(
    ("running", "waiting", "cap"), [(10, 0, 32), (60, 60, 96), (300, 900, 256)]
)
def test_the_cap_stays_above_demand_per_gpu(running, waiting, cap):
    assert last(seen(active_requests=running, queue_depth=waiting)).batch_cap == cap


def test_the_budget_sinks_to_what_is_used_after_the_hold():
    view = seen(kv_cache_occupancy=0.4)

    assert last(view, repeat=9).kv_budget_fraction == 1.0
    assert last(view, repeat=10).kv_budget_fraction == 0.45


def test_the_budget_rises_at_once_for_what_waits():
    quiet, crowd = (
        seen(kv_cache_occupancy=0.2),
        seen(kv_cache_occupancy=0.2, queue_depth=100, mean_prompt_length=500.0),
    )
    agent = HeuristicAgent()
    agent.reset(task(), 0)
    for _ in range(20):
        before = agent.act(quiet).kv_budget_fraction

    after = agent.act(crowd).kv_budget_fraction

    assert after > before + 0.2


def test_the_budget_always_holds_the_longest_request():
    chosen = last(seen(kv_cache_occupancy=0.0), repeat=20, spec=task(memory_limit_gb=24.0))

    assert chosen.kv_budget_fraction == 0.5


def test_speculation_is_off_at_large_batch_and_on_at_small():
    large, middle, small = (seen(active_requests=2 * batch) for batch in (80, 50, 20))

    assert last(small, large).speculation_depth == 0
    assert last(large, middle).speculation_depth == 0
    assert last(small, middle).speculation_depth == 3


def test_a_sustained_load_moves_the_tier_and_a_short_one_does_not():
    assert last(seen(**BUSY), repeat=60).quantization_tier != "FP16"
    assert last(seen(**BUSY), repeat=20).quantization_tier == "FP16"


def test_a_light_load_brings_the_tier_back():
    light = seen(request_arrival_rate=0.5, throughput_tps=50.0, finished_requests=1)

    assert last(seen(**BUSY), light, repeat=120).quantization_tier == "FP16"


def test_priority_is_on_while_the_top_class_misses():
    missing = seen(slo_violation_rate=(0.8, 0.0, 0.0))

    assert last(missing, repeat=5).priority_routing is True
    assert last(missing, seen(), repeat=60).priority_routing is False


def test_long_prompts_that_disturb_decoding_split_the_gpus():
    long = {"mean_prompt_length": 6_000.0}

    assert last(seen(**long, p50_itl_ms=120.0), repeat=90).prefill_decode_split is True
    assert last(seen(**long, p50_itl_ms=40.0), repeat=90).prefill_decode_split is False


def test_one_gpu_is_not_split():
    view = seen(mean_prompt_length=6_000.0, p50_itl_ms=120.0)

    assert last(view, repeat=90, spec=task()).prefill_decode_split is False
