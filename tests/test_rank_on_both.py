import pytest

from scripts.rank_on_both import (
    AGENTS,
    BoundedEnvironment,
    EpisodeRow,
    SlowedSimulator,
    catalogue,
    play,
    rank,
    ranking_task,
)
from scripts.tiny_deployment import setting
from simulator.deployment import build_deployment


def rows(values, seeds=(0, 1, 2)):
    return [
        EpisodeRow(agent, seed, value + 0.001 * seed, 10.0 * value, 100.0 / (1.0 + value), 0)
        for agent, value in zip(AGENTS, values, strict=True)
        for seed in seeds
    ]


def environment(factor=1.0):
    return BoundedEnvironment(catalogue(), simulator=SlowedSimulator(factor))


def test_the_task_has_the_64_blocks_that_the_server_is_started_with():
    assert build_deployment(ranking_task()).pool_blocks("FP16") == 64


def test_an_agent_that_is_tuned_for_the_family_plays_the_task():
    row = play("kv_rule", 0, environment())

    assert row.agent == "kv_rule"
    assert row.reward > play("vllm_default", 0, environment()).reward


def test_a_constant_moves_the_knob_that_it_names():
    assert play("constant:batch_cap=2", 0, environment()).p99_ttft_ms > 2_000.0


def test_a_slower_machine_serves_less_in_time():
    usual = play("vllm_default", 0, environment())
    slowed = play("vllm_default", 0, environment(factor=2.0))

    assert slowed.goodput_tps < usual.goodput_tps


def test_a_kv_budget_below_the_servers_least_is_the_least():
    played = environment()
    played.reset(task_id="static_workload", seed=0)

    observation = played.step(setting(64, 0.1))

    assert observation.config.kv_budget_fraction == pytest.approx(17 / 64)


def test_equal_orders_correlate_fully():
    values = [0.1 * i for i in range(len(AGENTS))]

    found = rank(rows(values), rows([value + 0.5 for value in values]))

    assert found["reward"]["rank_correlation"] == pytest.approx(1.0)
    assert found["reward"]["pairs_told_apart"] == found["reward"]["pairs_ordered_alike"] == 45


def test_opposite_orders_correlate_negatively_and_no_pair_is_ordered_alike():
    values = [0.1 * i for i in range(len(AGENTS))]

    found = rank(rows(values), rows(values[::-1]))

    assert found["reward"]["rank_correlation"] == pytest.approx(-1.0)
    assert found["reward"]["pairs_ordered_alike"] == 0
