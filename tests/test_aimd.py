from agents.aimd import AimdAgent
from tests.agent_views import seen
from tests.builders import action, task


def reset():
    """An agent on a task with an ITL objective of 60 ms, starting at cap 64 and all of the KV."""
    agent = AimdAgent()
    agent.reset(task(), 0)
    return agent


def caps(*observations):
    agent = reset()
    return [agent.act(each).batch_cap for each in observations]


def test_a_cap_is_halved_when_tokens_come_far_too_late():
    assert caps(*[seen(p50_itl_ms=90.0)] * 3)[-1] == 32


def test_a_cap_is_cut_by_a_fifth_when_tokens_come_a_little_late():
    assert caps(*[seen(p50_itl_ms=66.0)] * 3)[-1] == 51


def test_a_cap_grows_by_four_while_there_is_room():
    assert caps(*[seen(p50_itl_ms=30.0)] * 3)[-1] == 68


def test_a_cap_grows_by_sixteen_while_it_holds_requests_back():
    assert caps(*[seen(p50_itl_ms=30.0, binding_constraint="queue")] * 3)[-1] == 80


def test_a_cap_rests_just_below_the_objective():
    assert caps(*[seen(p50_itl_ms=57.0)] * 9)[-1] == 64


def test_a_cap_moves_every_third_window_at_most():
    assert caps(*[seen(p50_itl_ms=30.0)] * 8) == [64, 64, 68, 68, 68, 72, 72, 72]


def test_without_tokens_the_cap_rests():
    assert caps(*[seen(p50_itl_ms=None)] * 6)[-1] == 64


def test_the_cap_has_a_floor_and_a_ceiling():
    assert caps(*[seen(p50_itl_ms=500.0)] * 60)[-1] == 8
    assert caps(*[seen(p50_itl_ms=5.0, binding_constraint="queue")] * 120)[-1] == 512


def test_the_kv_budget_sinks_towards_what_is_used():
    agent = reset()

    budgets = [agent.act(seen(kv_cache_occupancy=0.2)).kv_budget_fraction for _ in range(60)]

    assert budgets[0] == 0.95
    assert budgets[-1] == 0.35


def test_the_kv_budget_jumps_when_it_preempts():
    agent = reset()
    for _ in range(60):
        agent.act(seen(kv_cache_occupancy=0.2))

    after = agent.act(seen(kv_cache_occupancy=0.2, eviction_events=3))

    assert after.kv_budget_fraction == 0.52


def test_other_knobs_stay_at_the_default():
    agent = reset()

    moved = agent.act(seen(p50_itl_ms=500.0))

    assert moved.model_copy(update={"kv_budget_fraction": 1.0}) == action()
